/* What the parts of the stand-in tell each other. */
#ifndef STANDIN_H
#define STANDIN_H

#include <stdbool.h>
#include <stddef.h>

#include "tflite_abi.h"

#define LOG(letter, ...) log_line(letter, __FILE__, __LINE__, __VA_ARGS__)
#define VLOG(level, ...) \
  do { \
    if (verbosity >= (level)) LOG('I', __VA_ARGS__); \
  } while (0)

enum { PCI = 0, USB = 1, ANY = 2 }; /* edgetpu_device_type, and no preference */
enum { MOST_DEVICES = 16, PATH_BYTES = 40 };

typedef struct {
  int type;
  char path[PATH_BYTES];
} Device;

typedef struct {
  const char *key, *value;
} Option;

/* A device that this process holds. */
typedef struct {
  Device device;
  int users, lock;
} Opened;

/* state.c: the folder that tells what to do, and the log. */
extern int verbosity;
__attribute__((format(printf, 4, 5))) void log_line(char letter, const char *file, int line, const char *format, ...);
int open_state(const char *name, int flags);
char *read_state(const char *name);
void append_state(const char *name, const char *line, size_t bytes);
void sleep_for(const char *name);
bool has_fault(const char *kind, long of_all, long of_process);
long count_invoke(const char *path);

/* devices.c */
size_t enumerate(Device *devices);
bool is_plugged_in(const Device *device);
Opened *open_by_options(const Option *options, size_t count);
void release(Opened *device);

/* python.c: models are objects of edgetpu_standin_kernel.py; what goes wrong is reported to the context. */
void *open_model(TfLiteContext *context, const void *package, int bytes);
bool run_model(TfLiteContext *context, TfLiteNode *node, void *model);
void close_model(void *model);

#endif
