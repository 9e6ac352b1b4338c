"""fovea through its shared library: what peers.py and worker.py need of fovea.h."""
import ctypes
import os

import numpy


class ContextSettings(ctypes.Structure):
    _fields_ = [("backend", ctypes.c_int), ("threads", ctypes.c_int), ("isa", ctypes.c_char_p), ("rest", ctypes.c_uint8 * 256)]


class SessionSettings(ctypes.Structure):
    _fields_ = [("batch", ctypes.c_int64), ("input_layout", ctypes.c_int), ("output_layout", ctypes.c_int), ("arena", ctypes.c_void_p),
                ("arena_bytes", ctypes.c_size_t), ("profile", ctypes.c_bool), ("threads", ctypes.c_int32), ("plan_cache", ctypes.c_int32),
                ("inputs", ctypes.c_void_p), ("input_count", ctypes.c_size_t), ("plan", ctypes.c_int), ("choices", ctypes.c_char_p),
                ("rest", ctypes.c_uint8 * 256)]


PLANS = {"fast": 0, "lean": 1}


class TrainerSettings(ctypes.Structure):
    _fields_ = [("batch", ctypes.c_int64), ("input_layout", ctypes.c_int), ("loss", ctypes.c_int), ("loss_input", ctypes.c_int),
                ("soft_targets", ctypes.c_bool), ("reduction", ctypes.c_int), ("label_smoothing", ctypes.c_float),
                ("optimizer", ctypes.c_int), ("lr", ctypes.c_float), ("rest", ctypes.c_uint8 * 256)]


class Tensor(ctypes.Structure):
    _fields_ = [("dtype", ctypes.c_int), ("layout", ctypes.c_int), ("rank", ctypes.c_int32), ("shape", ctypes.c_int64 * 8),
                ("data", ctypes.c_void_p)]


class NodeInfo(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("op", ctypes.c_char_p), ("algorithm", ctypes.c_char_p), ("rank", ctypes.c_int32),
                ("shape", ctypes.c_int64 * 8), ("flops", ctypes.c_double), ("bytes", ctypes.c_double), ("rest", ctypes.c_uint8 * 256)]


class Step(ctypes.Structure):
    _fields_ = [("loss", ctypes.c_double), ("correct", ctypes.c_int64), ("lr", ctypes.c_double), ("grad_norm", ctypes.c_double)]


class Peak(ctypes.Structure):
    _fields_ = [("gflops", ctypes.c_double), ("clock_ghz", ctypes.c_double), ("flops_per_cycle", ctypes.c_double), ("valid", ctypes.c_bool)]


def tensor(a):
    """A view of a numpy array, plain layout; the array must outlive it."""
    return Tensor({"float32": 0, "int32": 1}[a.dtype.name], 0, a.ndim, (ctypes.c_int64 * 8)(*a.shape), a.ctypes.data)


class Fovea:
    """A context with one model at a time."""

    def __init__(self, library, threads):
        self.library = ctypes.CDLL(library)
        self.library.fv_last_error.restype = self.library.fv_version.restype = ctypes.c_char_p
        self.library.fv_session_node_count.restype = self.library.fv_model_parameter_count.restype = ctypes.c_size_t
        self.version = self.library.fv_version().decode()
        settings = ContextSettings()
        self.library.fv_context_settings_default(ctypes.byref(settings))
        settings.threads = threads
        self.context = self.made("fv_context_create", ctypes.byref(settings))

    def call(self, name, *values):
        if getattr(self.library, name)(*values) != 0:
            raise RuntimeError(f"{name}: {self.library.fv_last_error().decode()}")

    def made(self, name, *values):
        out = ctypes.c_void_p()
        self.call(name, *values, ctypes.byref(out))
        return out

    def write_zoo(self, name, path):
        model = self.made("fv_model_zoo", self.context, name.encode(), None)
        self.call("fv_model_save", model, path.encode())
        self.library.fv_model_free(model)

    def peak(self):
        """GFLOP/s of one core, multiply-adds from registers; None where the measurement is not valid."""
        peak = Peak()
        self.call("fv_measure_peak", self.context, ctypes.c_double(0.1), ctypes.byref(peak))
        return peak.gflops if peak.valid else None

    def session(self, path, x, y, plan="fast"):
        """A function that runs the model on array x and writes array y; the work it does in GFLOP, direct products counted."""
        settings, model = SessionSettings(), self.made("fv_model_load", self.context, path.encode())
        self.library.fv_session_settings_default(ctypes.byref(settings))
        settings.batch, settings.plan = x.shape[0], PLANS[plan]
        session = self.made("fv_session_create", model, ctypes.byref(settings))
        self.library.fv_model_free(model)
        gflop = 0.0
        for i in range(self.library.fv_session_node_count(session)):
            info = NodeInfo()
            self.call("fv_session_node", session, ctypes.c_size_t(i), ctypes.byref(info))
            gflop += 1e-9 * info.flops
        run, one = self.library.fv_session_run, ctypes.c_size_t(1)
        given, wanted = ctypes.byref(tensor(x)), ctypes.byref(tensor(y))

        def step(kept=(x, y)):
            if run(session, given, one, wanted, one) != 0:
                raise RuntimeError(self.library.fv_last_error().decode())
        return step, gflop

    def trainer(self, path, batch, lr):
        """A function (x, channels last, its shape NCHW, labels) -> loss that does one step of SGD with momentum 0.9."""
        settings, model = TrainerSettings(), self.made("fv_model_load", self.context, path.encode())
        self.library.fv_trainer_settings_default(ctypes.byref(settings))
        settings.batch, settings.input_layout, settings.lr = batch, 1, lr
        trainer = self.made("fv_trainer_create", model, ctypes.byref(settings))
        self.library.fv_model_free(model)
        result = Step()

        def step(x, shape, labels):
            images = tensor(x)
            images.layout, images.shape = 1, (ctypes.c_int64 * 8)(*shape)
            self.call("fv_trainer_step", trainer, ctypes.byref(images), ctypes.byref(tensor(labels)), ctypes.byref(result))
            return result.loss
        return step


def library_path(build):
    return os.path.join(build, "runtime", "libfovea.so")


def draw(shape, seed):
    return numpy.random.default_rng(seed).random(shape, dtype=numpy.float32)
