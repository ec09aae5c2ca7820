/* Which devices are plugged in, and opening one by libedgetpu's options. */
#define _GNU_SOURCE
#include "standin.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const char *type_name(int type) { return type == USB ? "Apex (USB)" : "Apex (PCIe)"; }

/* Whether a device's firmware was loaded since the devices were set. */
static bool has_firmware(const char *path) {
  char *loaded = read_state("firmware");
  bool found = strstr(loaded, path) != NULL;
  free(loaded);
  return found;
}

static size_t add(Device *devices, size_t count, size_t at, int type, int number) {
  memmove(&devices[at + 1], &devices[at], (count - at) * sizeof *devices);
  devices[at].type = type;
  snprintf(devices[at].path, PATH_BYTES, type == USB ? "/sys/bus/usb/devices/2-%d" : "/dev/apex_%d", number);
  return count + 1;
}

size_t enumerate(Device *devices) {
  char *text = read_state("devices"), *rest = text, *each, path[PATH_BYTES];
  size_t count = 0, bare = 0; /* those without firmware come first */
  int usb = 0, pci = 0;
  while ((each = strsep(&rest, ", \n")) && count < MOST_DEVICES) {
    if (!strcmp(each, "pci")) {
      count = add(devices, count, count, PCI, pci++);
    } else if (!strcmp(each, "usb") || !strcmp(each, "dfu")) {
      snprintf(path, sizeof path, "2-%d\n", ++usb);
      bool is_bare = *each == 'd' && !has_firmware(path);
      count = add(devices, count, is_bare ? bare++ : count, USB, usb);
    } else if (!strcmp(each, "-")) {
      usb++; /* a port with nothing in it */
    }
  }
  free(text);
  return count;
}

bool is_plugged_in(const Device *device) {
  Device devices[MOST_DEVICES];
  size_t count = enumerate(devices);
  for (size_t i = 0; i < count; i++)
    if (!strcmp(devices[i].path, device->path)) return true;
  return false;
}

/* What this process has opened; it shares a device with itself, as libedgetpu does. */
static Opened opened[MOST_DEVICES];

static Opened *find_opened(int type, const char *path) {
  for (Opened *each = opened; each < opened + MOST_DEVICES; each++)
    if (each->users && each->device.type == type && (!path || !strcmp(each->device.path, path))) return each;
  return NULL;
}

static bool is_one_of(const char *value, const char *const *values) {
  for (; *values; values++)
    if (!strcmp(value, *values)) return true;
  return false;
}

static bool are_valid(const Option *options, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const char *key = options[i].key, *value = options[i].value;
    char *end = "";
    bool valid = true;
    if (!strcmp(key, "Performance"))
      valid = is_one_of(value, (const char *const[]){"Low", "Medium", "High", "Max", NULL});
    else if (!strcmp(key, "Usb.AlwaysDfu"))
      valid = is_one_of(value, (const char *const[]){"True", "False", NULL});
    else if (!strcmp(key, "Usb.MaxBulkInQueueLength"))
      valid = *value && strtoul(value, &end, 10) <= 256 && !*end;
    if (!valid) {
      VLOG(1, "Invalid argument: %s is %s.", key, value);
      return false;
    }
  }
  return true;
}

static void note_opened(const Device *device, const Option *options, size_t count) {
  char line[1024];
  size_t bytes = (size_t)snprintf(line, sizeof line, "%d\t%s", (int)getpid(), device->path);
  for (size_t i = 0; i < count && bytes < sizeof line; i++)
    bytes += (size_t)snprintf(line + bytes, sizeof line - bytes, "\t%s=%s", options[i].key, options[i].value);
  if (bytes + 1 >= sizeof line) bytes = sizeof line - 2;
  line[bytes++] = '\n';
  append_state("opened", line, bytes);
}

static Opened *open_device(const Device *device, const Option *options, size_t count) {
  Opened *slot = opened;
  char name[PATH_BYTES + 8];
  const char *base = strrchr(device->path, '/') + 1;
  while (slot < opened + MOST_DEVICES && slot->users) slot++;
  if (slot == opened + MOST_DEVICES || !are_valid(options, count)) return NULL;
  VLOG(4, "Opening device at %s", device->path);
  sleep_for("create_ms");
  while (has_fault("hang-create", 0, 0)) pause();
  snprintf(name, sizeof name, "lock-%s", base);
  int lock = open_state(name, O_RDWR | O_CREAT);
  const char *why = NULL;
  if (has_fault("create", 0, 0))
    why = "Failed precondition: the stand-in was asked to fail";
  else if (!is_plugged_in(device))
    why = "Not found: it was unplugged";
  else if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB))
    why = "Failed precondition: another process has it open";
  if (why) {
    VLOG(1, "Failed to open device [%s] at [%s]: %s", type_name(device->type), device->path, why);
    if (lock >= 0) close(lock);
    return NULL;
  }
  note_opened(device, options, count);
  snprintf(name, sizeof name, "%s\n", base);
  append_state("firmware", name, strlen(name));
  *slot = (Opened){*device, 1, lock};
  return slot;
}

/* A device by its number, of one type or of any; options count only here. */
static Opened *open_numbered(int type, long number, const Option *options, size_t count) {
  Device devices[MOST_DEVICES];
  size_t found = enumerate(devices);
  for (size_t i = 0; i < found; i++) {
    if ((type != ANY && devices[i].type != type) || number--) continue;
    Opened *shared = find_opened(devices[i].type, devices[i].path);
    if (!shared) return open_device(&devices[i], options, count);
    shared->users++;
    return shared;
  }
  return NULL;
}

/* Any device of one type or of any, PCIe first. Another process's device is not passed over but fails. */
static Opened *open_any(int type) {
  Device devices[MOST_DEVICES];
  size_t found = enumerate(devices);
  for (int each = PCI; each <= USB; each++) {
    Opened *shared = type == ANY || type == each ? find_opened(each, NULL) : NULL;
    if (!shared) continue;
    shared->users++;
    return shared;
  }
  for (int each = PCI; each <= USB; each++) {
    if (type != ANY && type != each) continue;
    for (size_t i = 0; i < found; i++)
      if (devices[i].type == each) return open_device(&devices[i], NULL, 0);
    VLOG(5, "No device of type %s is available.", type_name(each));
  }
  VLOG(1, "Failed allocating Edge TPU device for shared ownership.");
  return NULL;
}

Opened *open_by_options(const Option *options, size_t count) {
  const char *device = "";
  for (size_t i = 0; i < count; i++)
    if (!strcmp(options[i].key, "device")) device = options[i].value;
  const char *colon = strchr(device, ':');
  size_t bytes = colon ? (size_t)(colon - device) : strlen(device);
  int type = ANY;
  if (bytes == 3 && !strncmp(device, "usb", 3))
    type = USB;
  else if (bytes == 3 && !strncmp(device, "pci", 3))
    type = PCI;
  else if (bytes)
    return NULL;
  if (!colon) return open_any(type);
  char *end;
  long number = strtol(colon + 1, &end, 10);
  return !colon[1] || *end || number < 0 ? NULL : open_numbered(type, number, options, count);
}

void release(Opened *device) {
  if (!--device->users) close(device->lock);
}
