/* What a TensorFlow Lite delegate and its interpreter pass each other: the beginning of TFLite's C structures
 * (tensorflow/lite/core/c/common.h), member by member, as far as the stand-in reads or writes them.
 *
 * OLD_ABI leaves out what TensorFlow 2.12 had appended to TfLiteRegistration and TfLiteDelegate: the structures as
 * Google's last libedgetpu, built on TensorFlow 2.5, has them. Registrations are passed by value, hence the crash. */
#ifndef TFLITE_ABI_H
#define TFLITE_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { kTfLiteOk = 0, kTfLiteError = 1 };

typedef struct TfLiteContext TfLiteContext;
typedef struct TfLiteDelegate TfLiteDelegate;

typedef struct {
  int size;
  int data[];
} TfLiteIntArray;

typedef struct {
  int type;
  void *data;
  TfLiteIntArray *dims;
  float scale;
  int32_t zero_point;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  TfLiteDelegate *delegate;
  int buffer_handle;
  bool data_is_stale;
  bool is_variable;
  struct {
    int type;
    void *params;
  } quantization;
  void *sparsity;
  const TfLiteIntArray *dims_signature;
} TfLiteTensor;

typedef struct {
  TfLiteIntArray *inputs;
  TfLiteIntArray *outputs;
  TfLiteIntArray *intermediates;
  TfLiteIntArray *temporaries;
  void *user_data;
  void *builtin_data;
  const void *custom_initial_data;
  int custom_initial_data_size;
  TfLiteDelegate *delegate;
  bool might_have_side_effect;
} TfLiteNode;

typedef struct {
  void *(*init)(TfLiteContext *, const char *buffer, size_t bytes);
  void (*free)(TfLiteContext *, void *user_data);
  int (*prepare)(TfLiteContext *, TfLiteNode *);
  int (*invoke)(TfLiteContext *, TfLiteNode *);
  const char *(*profiling_string)(const TfLiteContext *, const TfLiteNode *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
#ifndef OLD_ABI
  void *registration_external;
  void *async_kernel;
  uint64_t inplace_operator;
#endif
} TfLiteRegistration;

typedef struct {
  TfLiteDelegate *delegate;
  TfLiteIntArray *nodes_to_replace;
  TfLiteIntArray *input_tensors;
  TfLiteIntArray *output_tensors;
} TfLiteDelegateParams;

struct TfLiteContext {
  size_t tensors_size;
  int (*GetExecutionPlan)(TfLiteContext *, TfLiteIntArray **plan);
  TfLiteTensor *tensors;
  void *impl;
  int (*ResizeTensor)(TfLiteContext *, TfLiteTensor *, TfLiteIntArray *);
  void (*ReportError)(TfLiteContext *, const char *format, ...);
  int (*AddTensors)(TfLiteContext *, int count, int *first);
  int (*GetNodeAndRegistration)(TfLiteContext *, int index, TfLiteNode **, TfLiteRegistration **);
  int (*ReplaceNodeSubsetsWithDelegateKernels)(TfLiteContext *, TfLiteRegistration, const TfLiteIntArray *nodes,
                                               TfLiteDelegate *);
};

struct TfLiteDelegate {
  void *data;
  int (*Prepare)(TfLiteContext *, TfLiteDelegate *);
  int (*CopyFromBufferHandle)(TfLiteContext *, TfLiteDelegate *, int, TfLiteTensor *);
  int (*CopyToBufferHandle)(TfLiteContext *, TfLiteDelegate *, int, TfLiteTensor *);
  void (*FreeBufferHandle)(TfLiteContext *, TfLiteDelegate *, int *);
  int64_t flags;
#ifndef OLD_ABI
  void *opaque_delegate_builder;
#endif
};

#endif
