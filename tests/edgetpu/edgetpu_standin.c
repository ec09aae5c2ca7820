/* A stand-in for libedgetpu.so.1, for tests on machines without an Edge TPU. It has libedgetpu's entry points, grammar
 * of options, order of devices, log and ways to fail; it is no emulation of the chip, and its speed means nothing.
 * Here: the entry points, the delegate and the operator. README.md tells how it is told what to do. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "standin.h"

#define EXPORT __attribute__((visibility("default")))

/* As in libedgetpu, where a C++ class with a shared pointer to the context begins with TfLiteDelegate. */
typedef struct {
  TfLiteDelegate delegate;
  void *context[2];
  Opened *opened;
} Standin;

typedef struct {
  const Opened *opened;
  const void *package;
  int package_bytes;
  void *model; /* of edgetpu_standin_kernel.py */
  bool has_run;
} Kernel;

static void *kernel_init(TfLiteContext *context, const char *buffer, size_t bytes) {
  const TfLiteDelegateParams *params = (const void *)buffer;
  Kernel *kernel = calloc(1, sizeof *kernel);
  TfLiteNode *node;
  TfLiteRegistration *registration;
  (void)bytes;
  kernel->opened = ((Standin *)params->delegate)->opened;
  if (!context->GetNodeAndRegistration(context, params->nodes_to_replace->data[0], &node, &registration)) {
    kernel->package = node->custom_initial_data;
    kernel->package_bytes = node->custom_initial_data_size;
  }
  return kernel;
}

static void kernel_free(TfLiteContext *context, void *user_data) {
  Kernel *kernel = user_data;
  (void)context;
  if (kernel->model) close_model(kernel->model);
  free(kernel);
}

static int kernel_prepare(TfLiteContext *context, TfLiteNode *node) {
  Kernel *kernel = node->user_data;
  if (has_fault("prepare", 0, 0)) {
    context->ReportError(context, "Failed to prepare for TPU. %s", "The stand-in was asked to fail.");
    return kTfLiteError;
  }
  if (!kernel->model) kernel->model = open_model(context, kernel->package, kernel->package_bytes);
  return kernel->model ? kTfLiteOk : kTfLiteError;
}

static int kernel_invoke(TfLiteContext *context, TfLiteNode *node) {
  Kernel *kernel = node->user_data;
  const Device *device = &kernel->opened->device;
  static long of_process; /* one thread at a time invokes */
  long of_all = count_invoke(device->path);
  of_process++;
  sleep_for(kernel->has_run ? "invoke_ms" : "first_ms");
  kernel->has_run = true;
  if (!is_plugged_in(device)) {
    LOG('F', "transfer on tag 1 failed. Abort. Not found: USB transfer error 5: %s is unplugged", device->path);
    abort();
  }
  if (has_fault("abort", of_all, of_process)) {
    LOG('F', "transfer on tag 2 failed. Abort. Deadline exceeded: USB transfer error 2: stand-in was asked to fail");
    abort();
  }
  if (has_fault("segv", of_all, of_process)) *(volatile int *)8 = 1;
  while (has_fault("hang", of_all, of_process)) pause();
  if (has_fault("invoke", of_all, of_process)) {
    context->ReportError(context, "Failed to execute request. %s", "The stand-in was asked to fail.");
    return kTfLiteError;
  }
  return run_model(context, node, kernel->model) ? kTfLiteOk : kTfLiteError;
}

static int delegate_prepare(TfLiteContext *context, TfLiteDelegate *delegate) {
  const TfLiteRegistration registration = {
      .init = kernel_init,
      .free = kernel_free,
      .prepare = kernel_prepare,
      .invoke = kernel_invoke,
      .custom_name = "EdgeTpuDelegateForCustomOp",
      .version = 1,
  };
  TfLiteIntArray *plan;
  if (context->GetExecutionPlan(context, &plan)) return kTfLiteError;
  int count = plan->size, nodes[count ? count : 1];
  memcpy(nodes, plan->data, sizeof(int) * (size_t)count); /* replacing changes the plan */
  for (int i = 0; i < count; i++) {
    TfLiteNode *node;
    TfLiteRegistration *found;
    if (context->GetNodeAndRegistration(context, nodes[i], &node, &found)) return kTfLiteError;
    if (!found->custom_name || strcmp(found->custom_name, "edgetpu-custom-op")) continue;
    const int one[] = {1, nodes[i]};
    if (context->ReplaceNodeSubsetsWithDelegateKernels(context, registration, (const void *)one, delegate))
      return kTfLiteError;
  }
  return kTfLiteOk;
}

EXPORT TfLiteDelegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count,
                                                     void (*report_error)(const char *)) {
  static long context[16];
  Option options[count ? count : 1];
  (void)report_error; /* libedgetpu says nothing either */
  for (size_t i = 0; i < count; i++) options[i] = (Option){keys[i], values[i]};
  Opened *device = open_by_options(options, count);
  if (!device) return NULL;
  Standin *standin = calloc(1, sizeof *standin);
  standin->delegate.data = context;
  standin->delegate.Prepare = delegate_prepare;
  standin->delegate.flags = 1; /* kTfLiteDelegateFlagsAllowDynamicTensors */
  standin->context[0] = context;
  standin->opened = device;
  return &standin->delegate;
}

EXPORT void tflite_plugin_destroy_delegate(TfLiteDelegate *delegate) {
  if (delegate) release(((Standin *)delegate)->opened); /* NULL after a refusal */
  free(delegate);
}

struct edgetpu_device {
  int type;
  const char *path;
};

EXPORT struct edgetpu_device *edgetpu_list_devices(size_t *count) {
  Device devices[MOST_DEVICES];
  *count = enumerate(devices);
  if (!*count) return NULL;
  struct edgetpu_device *listed = malloc(*count * (sizeof *listed + PATH_BYTES));
  char *paths = (char *)(listed + *count);
  for (size_t i = 0; i < *count; i++, paths += PATH_BYTES)
    listed[i] = (struct edgetpu_device){devices[i].type, strcpy(paths, devices[i].path)};
  return listed;
}

EXPORT void edgetpu_free_devices(struct edgetpu_device *listed) { free(listed); }

EXPORT const char *edgetpu_version(void) { return "BuildLabel(STAND-IN, no hardware), RuntimeVersion(14)"; }

EXPORT void edgetpu_verbosity(int level) { verbosity = level; }
