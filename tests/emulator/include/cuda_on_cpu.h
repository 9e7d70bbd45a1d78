// The words of CUDA C++ that CuPy's kernels use, for a C++ compiler, and a loop that runs the
// threads of a launch one after the other.
#pragma once
#include <cassert>
#include <cmath>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <math.h>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __constant__ static
#define __shared__ static  // blocks run one after the other: all may use the same
#define __restrict__ __restrict
#define __launch_bounds__(...)

struct uint3 { unsigned x, y, z; };
typedef uint3 dim3;
static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static const int warpSize = 32;
alignas(16) static char _dynamic_shared[98304];

// Functions of the device

using std::isfinite; using std::isinf; using std::isnan; using std::signbit;
#define __expf expf
#define __logf logf
#define INLINE static inline
INLINE float __fdividef(float a, float b) { return a / b; }
INLINE float rsqrtf(float a) { return 1.0f / sqrtf(a); }
INLINE float rsqrt(float a) { return 1.0f / sqrtf(a); }
INLINE double rsqrt(double a) { return 1.0 / sqrt(a); }
INLINE int __popc(unsigned x) { return __builtin_popcount(x); }
INLINE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
INLINE int __clz(int x) { return x ? __builtin_clz(x) : 32; }
template<class T> INLINE T __ldg(const T* p) { return *p; }
template<class To, class From> INLINE To _bits(From a) { To r; memcpy(&r, &a, sizeof r); return r; }
INLINE int __float_as_int(float a) { return _bits<int>(a); }
INLINE float __int_as_float(int a) { return _bits<float>(a); }
INLINE long long __double_as_longlong(double a) { return _bits<long long>(a); }
INLINE double __longlong_as_double(long long a) { return _bits<double>(a); }
INLINE unsigned short __float2half_rn(float f) { return _bits<unsigned short>((_Float16)f); }
INLINE float __half2float(unsigned short u) { return (float)_bits<_Float16>(u); }
#define __half_as_ushort(h) (__half_raw(h).x)
#define __ushort_as_half(u) (half(__half_raw{(unsigned short)(u)}))
template<class A, class B> INLINE typename std::common_type<A, B>::type min(A a, B b) { return b < a ? b : a; }
template<class A, class B> INLINE typename std::common_type<A, B>::type max(A a, B b) { return a < b ? b : a; }

// Atomic operations: one thread runs at a time, so plain ones are atomic

#define ATOMIC(T, NAME, EXPR) INLINE T NAME(T* p, T v) { T o = *p; *p = EXPR; return o; }
#define ATOMIC_INT(NAME, EXPR) ATOMIC(int, NAME, EXPR) ATOMIC(unsigned, NAME, EXPR) \
  ATOMIC(unsigned long long, NAME, EXPR)
#define ATOMIC_SIGNED(NAME, EXPR) ATOMIC_INT(NAME, EXPR) ATOMIC(long long, NAME, EXPR)
ATOMIC_INT(atomicAdd, o + v) ATOMIC(float, atomicAdd, o + v) ATOMIC(double, atomicAdd, o + v)
ATOMIC_INT(atomicSub, o - v)
ATOMIC_INT(atomicExch, v) ATOMIC(float, atomicExch, v)
ATOMIC_SIGNED(atomicMin, v < o ? v : o)
ATOMIC_SIGNED(atomicMax, o < v ? v : o)
ATOMIC_SIGNED(atomicAnd, o & v)
ATOMIC_SIGNED(atomicOr, o | v)
ATOMIC_SIGNED(atomicXor, o ^ v)
template<class T> INLINE T atomicCAS(T* p, T c, T v) { T o = *p; if (o == c) *p = v; return o; }
INLINE void __threadfence() {}

// Threads of a block that wait for one another are coroutines: at a barrier a thread jumps back to
// the loop below, which lets the next one run. A context is entered once; later switches are
// long jumps, which (unlike contexts) need no system call.

enum Place : char { READY, WARP_BARRIER, BLOCK_BARRIER, DONE };
struct Thread { jmp_buf state; bool entered; Place at; };
static std::vector<Thread> _threads;
static jmp_buf _loop;
static unsigned _current;
static bool _waits;  // the kernel has barriers
static void (*_kernel)(void**);
static void** _arguments;

static void _wait(Place at) {
  if (!_waits) return;
  _threads[_current].at = at;
  if (!_setjmp(_threads[_current].state)) _longjmp(_loop, 1);
}
INLINE void __syncthreads() { _wait(BLOCK_BARRIER); }
INLINE void __syncwarp(unsigned = 0xffffffffu) { _wait(WARP_BARRIER); }

// Values of other threads of the warp: all write theirs, wait, read, and wait again
template<class T> static T _exchange(T x, unsigned from) {
  static T slots[1024];
  slots[_current] = x;
  _wait(WARP_BARRIER);
  const T y = slots[from];
  _wait(WARP_BARRIER);
  return y;
}
#define SHUFFLE(NAME, FROM) \
  template<class T> static T NAME(unsigned, T x, int n, int width = 32) { \
    const int lane = _current % width, from = FROM; \
    return _exchange(x, from < 0 || from >= width ? _current : _current - lane + from); \
  }
SHUFFLE(__shfl_sync, n) SHUFFLE(__shfl_xor_sync, lane ^ n)
SHUFFLE(__shfl_up_sync, lane - n) SHUFFLE(__shfl_down_sync, lane + n)

static void _enter() {  // a coroutine runs its thread of one block after the other, for ever
  for (;;) {
    _kernel(_arguments);
    _wait(DONE);
  }
}

static void _resume(unsigned t) {
  if (_setjmp(_loop)) return;
  if (_threads[t].entered) _longjmp(_threads[t].state, 1);
  _threads[t].entered = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_size = 32768;
  context.uc_stack.ss_sp = malloc(context.uc_stack.ss_size);
  makecontext(&context, _enter, 0);
  setcontext(&context);
}

INLINE void _become(unsigned t) {
  _current = t;
  threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
}

static bool _release(unsigned n, Place barrier) {  // nobody runs: all who will come are there
  bool any = false;
  for (unsigned t = 0; t < n; t++) if (_threads[t].at == barrier) { _threads[t].at = READY; any = true; }
  return any;
}

static void _run_block(unsigned n, bool reverse) {
  if (!_waits) {
    for (unsigned i = 0; i < n; i++) { _become(reverse ? n - 1 - i : i); _kernel(_arguments); }
    return;
  }
  if (_threads.size() < n) _threads.resize(n);
  for (unsigned t = 0; t < n; t++) _threads[t].at = READY;
  do {
    for (unsigned i = 0; i < n; i++) {
      const unsigned t = reverse ? n - 1 - i : i;
      if (_threads[t].at == READY) { _become(t); _resume(t); }
    }
  } while (_release(n, WARP_BARRIER) || _release(n, BLOCK_BARRIER));
}

static void _run(void (*kernel)(void**), void** arguments, const unsigned* size, bool waits, bool reverse) {
  gridDim = {size[0], size[1], size[2]};
  blockDim = {size[3], size[4], size[5]};
  _kernel = kernel; _arguments = arguments; _waits = waits;
  const unsigned long long blocks = 1ull * size[0] * size[1] * size[2];
  for (unsigned long long k = 0; k < blocks; k++) {
    const unsigned long long b = reverse ? blocks - 1 - k : k;
    blockIdx = {(unsigned)(b % size[0]), (unsigned)(b / size[0] % size[1]), (unsigned)(b / size[0] / size[1])};
    _run_block(size[3] * size[4] * size[5], reverse);
  }
}

// The entry of a kernel: its arguments come as pointers to their values

template<class... A, size_t... I>
static void _call(void (*f)(A...), void** a, std::index_sequence<I...>) {
  f(*reinterpret_cast<typename std::remove_cv<typename std::remove_reference<A>::type>::type*>(a[I])...);
}
template<class... A> static void _apply(void (*f)(A...), void** a) { _call(f, a, std::index_sequence_for<A...>()); }
#define EXPORT(NAME, WAITS, ...) \
  static void _apply_##NAME(void** a) { _apply(__VA_ARGS__, a); } \
  extern "C" void run_##NAME(void** a, const unsigned* size, int reverse) { \
    _run(_apply_##NAME, a, size, WAITS, reverse); }
