/* CPython's stable ABI, looked up in this process, to have models run by edgetpu_standin_kernel.py. */
#define _GNU_SOURCE
#include "standin.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>

static struct {
  int (*PyGILState_Ensure)(void);
  void (*PyGILState_Release)(int);
  void *(*PyImport_ImportModule)(const char *);
  void *(*PyObject_CallMethod)(void *, const char *, const char *, ...);
  void *(*PyMemoryView_FromMemory)(char *, ssize_t, int);
  void *(*PyBytes_FromStringAndSize)(const char *, ssize_t);
  void *(*PyList_New)(ssize_t);
  int (*PyList_Append)(void *, void *);
  void *(*PySys_GetObject)(const char *);
  void *(*PyUnicode_FromString)(const char *);
  const char *(*PyUnicode_AsUTF8AndSize)(void *, ssize_t *);
  void *(*PyObject_Str)(void *);
  void (*PyErr_Fetch)(void **, void **, void **);
  void (*Py_DecRef)(void *);
} py;

enum { PY_READ = 0x100, PY_WRITE = 0x200 };

static void require_python(void) {
#define FIND(name) \
  if (!(*(void **)&py.name = dlsym(RTLD_DEFAULT, #name))) LOG('F', "no " #name " in this process"), abort()
  FIND(PyGILState_Release);
  FIND(PyImport_ImportModule);
  FIND(PyObject_CallMethod);
  FIND(PyMemoryView_FromMemory);
  FIND(PyBytes_FromStringAndSize);
  FIND(PyList_New);
  FIND(PyList_Append);
  FIND(PySys_GetObject);
  FIND(PyUnicode_FromString);
  FIND(PyUnicode_AsUTF8AndSize);
  FIND(PyObject_Str);
  FIND(PyErr_Fetch);
  FIND(Py_DecRef);
  FIND(PyGILState_Ensure);
#undef FIND
}

static void report_exception(TfLiteContext *context, const char *what) {
  void *type = NULL, *value = NULL, *trace = NULL;
  py.PyErr_Fetch(&type, &value, &trace);
  void *text = value ? py.PyObject_Str(value) : NULL;
  context->ReportError(context, "%s %s", what, text ? py.PyUnicode_AsUTF8AndSize(text, NULL) : "");
  void *all[] = {type, value, trace, text};
  for (int i = 0; i < 4; i++) py.Py_DecRef(all[i]);
}

static void *import_kernel(void) {
  static void *kernel;
  if (kernel) return kernel;
  void *folder = py.PyUnicode_FromString(STANDIN_FOLDER);
  py.PyList_Append(py.PySys_GetObject("path"), folder);
  py.Py_DecRef(folder);
  return kernel = py.PyImport_ImportModule("edgetpu_standin_kernel");
}

/* A list of views of tensors. */
static void *views(TfLiteContext *context, const TfLiteIntArray *indices, int access) {
  void *list = py.PyList_New(0);
  for (int i = 0; i < indices->size; i++) {
    TfLiteTensor *tensor = &context->tensors[indices->data[i]];
    void *view = py.PyMemoryView_FromMemory(tensor->data, (ssize_t)tensor->bytes, access);
    py.PyList_Append(list, view);
    py.Py_DecRef(view);
  }
  return list;
}

void *open_model(TfLiteContext *context, const void *package, int bytes) {
  require_python();
  int gil = py.PyGILState_Ensure();
  void *module = import_kernel(), *content = py.PyBytes_FromStringAndSize(package, bytes);
  Dl_info runtime = {0};
  dladdr(*(void **)&context->ReportError, &runtime);
  void *model = module ? py.PyObject_CallMethod(module, "open_model", "(Os)", content, runtime.dli_fname) : NULL;
  py.Py_DecRef(content);
  if (!model) report_exception(context, "Failed to prepare for TPU.");
  py.PyGILState_Release(gil);
  return model;
}

bool run_model(TfLiteContext *context, TfLiteNode *node, void *model) {
  int gil = py.PyGILState_Ensure();
  void *inputs = views(context, node->inputs, PY_READ), *outputs = views(context, node->outputs, PY_WRITE);
  void *done = py.PyObject_CallMethod(model, "run", "(OO)", inputs, outputs);
  if (!done) report_exception(context, "Failed to execute request.");
  py.Py_DecRef(done);
  py.Py_DecRef(inputs);
  py.Py_DecRef(outputs);
  py.PyGILState_Release(gil);
  return done;
}

void close_model(void *model) {
  int gil = py.PyGILState_Ensure();
  py.Py_DecRef(model);
  py.PyGILState_Release(gil);
}
