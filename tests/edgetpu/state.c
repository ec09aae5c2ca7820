/* The folder $EDGETPU_STANDIN, read anew at each call, and the log. */
#define _GNU_SOURCE
#include "standin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RECORD_BYTES = 36 };

int verbosity;

void log_line(char letter, const char *file, int line, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%c edgetpu_standin/%s:%d] ", letter, file, line);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

int open_state(const char *name, int flags) {
  char path[4096];
  const char *folder = getenv("EDGETPU_STANDIN");
  if (!folder || snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return -1;
  return open(path, flags | O_CLOEXEC, 0666);
}

/* A file's text, to be freed; "" where it is missing. */
char *read_state(const char *name) {
  int file = open_state(name, O_RDONLY);
  struct stat found;
  size_t bytes = file >= 0 && !fstat(file, &found) ? (size_t)found.st_size : 0;
  char *text = calloc(1, bytes + 1);
  if (bytes && read(file, text, bytes) < 0) *text = 0;
  if (file >= 0) close(file);
  return text;
}

void sleep_for(const char *name) {
  char *text = read_state(name);
  double ms = atof(text);
  struct timespec left = {(time_t)(ms / 1e3), (long)(ms * 1e6) % 1000000000L};
  free(text);
  while (ms > 0 && nanosleep(&left, &left) && errno == EINTR) continue;
}

/* Whether `faults` has the kind: "kind" as such, "kind@n" for the n-th invoke of all processes or "kind#n" for the n-th
 * of each one; "n+" stands for that and all that follow. */
bool has_fault(const char *kind, long of_all, long of_process) {
  char *faults = read_state("faults"), *rest = faults, *each, *end;
  bool found = false;
  while (!found && (each = strsep(&rest, ", \n"))) {
    size_t bytes = strcspn(each, "@#");
    if (strncmp(each, kind, bytes) || kind[bytes]) continue;
    long n = each[bytes] == '#' ? of_process : of_all, first = each[bytes] ? strtol(each + bytes + 1, &end, 10) : 0;
    found = !each[bytes] || (*end == '+' ? n >= first : n == first);
  }
  free(faults);
  return found;
}

void append_state(const char *name, const char *line, size_t bytes) {
  int file = open_state(name, O_WRONLY | O_APPEND | O_CREAT);
  if (file < 0 || write(file, line, bytes) != (ssize_t)bytes) LOG('W', "cannot write to %s", name);
  if (file >= 0) close(file);
}

/* Counts an invoke, of all processes that share the folder, and tells which one it is. */
long count_invoke(const char *path) {
  char record[RECORD_BYTES + 1];
  struct stat found = {0};
  int file = open_state("invokes", O_WRONLY | O_APPEND | O_CREAT);
  snprintf(record, sizeof record, "%-24.24s %10d\n", path, (int)getpid());
  if (file < 0 || flock(file, LOCK_EX) || fstat(file, &found) || write(file, record, RECORD_BYTES) != RECORD_BYTES)
    LOG('W', "cannot count invokes");
  if (file >= 0) close(file);
  return found.st_size / RECORD_BYTES + 1;
}
