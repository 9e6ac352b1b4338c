"""The engines, each at its best float32 setting. A class per engine: load(path, x) prepares runs on array x, run() does one,
output() gives what it computed; version and flags say what was timed. Models for one batch size, files of fovea's ONNX writer."""
import os
import subprocess
import sys
import time

import numpy

import fovea as fovea_library


class Engine:
    flags = ""

    def __init__(self, work, threads, quick):
        self.work, self.threads, self.quick = work, threads, quick

    def convert(self, path, shape):
        """Whatever has to be done to a file once, before it is loaded."""


class Fovea(Engine):
    def __init__(self, work, threads, quick):
        super().__init__(work, threads, quick)
        self.fovea = fovea_library.Fovea(os.environ["FOVEA_LIBRARY"], threads)
        self.version, self.flags = self.fovea.version, "avx2 float32, NCHW input"

    def load(self, path, x, classes):
        self.y = numpy.zeros((x.shape[0], classes), numpy.float32)
        self.run, self.gflop = self.fovea.session(path, x, self.y)

    def output(self):
        return self.y

    def load_training(self, path, batch, shape, classes, lr):
        self.step = self.fovea.trainer(path, batch, lr)

    def prepared(self, x, labels):
        """A batch as steps take it: channels last."""
        return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1)), x.shape, labels


class OnnxRuntime(Engine):
    def __init__(self, work, threads, quick):
        super().__init__(work, threads, quick)
        import onnxruntime
        self.module, self.version = onnxruntime, onnxruntime.__version__
        self.flags = "all graph optimizations, sequential, bound buffers"

    def load(self, path, x, classes):
        options = self.module.SessionOptions()
        options.graph_optimization_level = self.module.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        session = self.module.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.x = self.module.OrtValue.ortvalue_from_numpy(x)
        self.y = self.module.OrtValue.ortvalue_from_shape_and_type([x.shape[0], classes], numpy.float32, "cpu")
        binding = session.io_binding()
        binding.bind_ortvalue_input(session.get_inputs()[0].name, self.x)
        binding.bind_ortvalue_output(session.get_outputs()[0].name, self.y)
        self.run = lambda: session.run_with_iobinding(binding)

    def output(self):
        return self.y.numpy()


class OpenVino(Engine):
    def __init__(self, work, threads, quick):
        super().__init__(work, threads, quick)
        import openvino
        self.module, self.version = openvino, openvino.__version__.split("-")[0]
        self.flags = "float32, latency hint, one stream, bound buffers"

    def load(self, path, x, classes):
        core = self.module.Core()
        model = core.read_model(path)
        model.reshape(list(x.shape))
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1",
                                                     "INFERENCE_NUM_THREADS": str(self.threads)})
        request = compiled.create_infer_request()
        self.x, self.y = x, numpy.zeros((x.shape[0], classes), numpy.float32)
        request.set_input_tensor(self.module.Tensor(self.x, shared_memory=True))
        request.set_output_tensor(self.module.Tensor(self.y, shared_memory=True))
        self.run = request.infer

    def output(self):
        return self.y


def converted(path, suffix, command):
    """The file that a converter makes beside the model, made once."""
    out = os.path.splitext(path)[0] + suffix
    if not os.path.exists(out):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=os.path.dirname(path))
    return out


def tool(name):
    return os.path.join(os.path.dirname(sys.executable), name)


class Ncnn(Engine):
    """One image a run is all it has: a larger batch is run image by image."""

    def __init__(self, work, threads, quick):
        super().__init__(work, threads, quick)
        import ncnn
        self.module, self.version = ncnn, ncnn.__version__
        self.flags = "pnnx, float32 storage and arithmetic, packing, Winograd, sgemm; image by image"

    def convert(self, path, shape):
        sizes, path = ",".join(str(d) for d in [1] + shape[1:]), os.path.join(os.path.dirname(path), "single.onnx")
        self.param = converted(path, ".ncnn.param", [tool("pnnx"), path, f"inputshape=[{sizes}]", "fp16=0"])

    def load(self, path, x, classes):
        self.net = net = self.module.Net()
        net.opt.num_threads = self.threads
        for name in dir(net.opt):
            if "fp16" in name or "bf16" in name or "int8" in name or "vulkan" in name:
                setattr(net.opt, name, False)
        net.opt.use_packing_layout = net.opt.use_winograd_convolution = net.opt.use_sgemm_convolution = True
        net.load_param(self.param)
        net.load_model(self.param[:-6] + ".bin")
        first, last = net.input_names()[0], net.output_names()[0]
        self.images, self.y = x, None  # a Mat does not keep the array alive
        mats = [self.module.Mat(image) for image in x]

        def run():
            out = []
            for image in mats:
                extractor = net.create_extractor()
                extractor.input(first, image)
                out.append(extractor.extract(last)[1])
            self.y = out
        self.run = run

    def output(self):
        return numpy.stack([numpy.array(y) for y in self.y])


class Mnn(Engine):
    def __init__(self, work, threads, quick):
        super().__init__(work, threads, quick)
        import MNN
        self.module, self.version = MNN, MNN.version()
        self.flags = "CPU, precision high, memory and power default"

    def convert(self, path, shape):
        self.file = converted(path, ".mnn", [tool("mnnconvert"), "-f", "ONNX", "--modelFile", path, "--MNNModel", os.path.splitext(path)[0] + ".mnn",
                                             "--bizCode", "fovea"])

    def load(self, path, x, classes):
        m = self.module
        self.net = m.Interpreter(self.file)
        self.session = self.net.createSession({"backend": "CPU", "precision": "high", "numThread": self.threads})
        given = self.net.getSessionInput(self.session)
        self.net.resizeTensor(given, tuple(x.shape))
        self.net.resizeSession(self.session)
        host = m.Tensor(tuple(x.shape), m.Halide_Type_Float, x, m.Tensor_DimensionType_Caffe)
        self.x, self.shape = x, (x.shape[0], classes)

        def run():
            given.copyFrom(host)
            self.net.runSession(self.session)
        self.run = run

    def output(self):
        out = self.net.getSessionOutput(self.session)
        m = self.module
        host = m.Tensor(self.shape, m.Halide_Type_Float, numpy.zeros(self.shape, numpy.float32), m.Tensor_DimensionType_Caffe)
        out.copyToHostTensor(host)
        return numpy.array(host.getData(), numpy.float32).reshape(self.shape)


def median_of_three(run):
    run()
    times = []
    for _ in range(3):
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    return sorted(times)[1]


class Torch(Engine):
    """Several ways of running a network; the fastest of a few tries is timed."""

    def __init__(self, work, threads, quick):
        super().__init__(work, threads, quick)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(work, "inductor"))
        import torch
        import onnx_torch
        self.torch, self.onnx, self.version = torch, onnx_torch, torch.__version__.split("+")[0]
        torch.set_num_threads(threads)
        self.capability = torch.backends.cpu.get_cpu_capability()

    def ways(self, net, x):
        torch, last = self.torch, self.torch.channels_last
        best = last if x.ndim == 4 else torch.contiguous_format
        yield "frozen, channels last", lambda: torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(
            net.to(memory_format=best), x.to(memory_format=best)))), best
        if self.quick:
            return
        yield "frozen", lambda: torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(
            net.to(memory_format=torch.contiguous_format), x))), torch.contiguous_format
        import torch._inductor.config
        torch._inductor.config.freezing = True
        yield "compiled and frozen", lambda: torch.compile(net.to(memory_format=torch.contiguous_format)), torch.contiguous_format
        yield "compiled and frozen, channels last", lambda: torch.compile(net.to(memory_format=best)), best

    def load(self, path, x, classes):
        torch = self.torch
        torch.set_grad_enabled(False)
        tried = {}
        for name, make, layout in self.ways(self.onnx.load(path).eval(), torch.from_numpy(x)):
            run = self.runner(make(), torch.from_numpy(x).to(memory_format=layout))
            tried[name] = median_of_three(run), run
        best = min(tried, key=lambda name: tried[name][0])
        self.run = tried[best][1]
        self.flags = f"{self.capability}, {best} (the best of {len(tried)})"

    def runner(self, net, x):
        def run():
            self.y = net(x)
        return run

    def output(self):
        return self.y.numpy()

    def load_training(self, path, batch, shape, classes, lr):
        torch = self.torch
        x, labels = torch.rand(batch, *shape), torch.arange(batch) % classes
        tried = {}
        for compiled in (False, True)[:1 if self.quick else 2]:
            for layout in (torch.contiguous_format, torch.channels_last):
                step = self.trained(path, compiled, layout, 1e-6)
                name = ("compiled" if compiled else "eager") + (", channels last" if layout == torch.channels_last else "")
                given = x.to(memory_format=layout)
                tried[name] = median_of_three(lambda: step(given, labels)), compiled, layout
        best = min(tried, key=lambda name: tried[name][0])
        self.flags = f"{self.capability}, {best} (the best of {len(tried)}), fused SGD"
        self.layout = tried[best][2]
        step = self.trained(path, *tried[best][1:], lr)
        self.step = lambda x, labels: step(x, labels).item()

    def prepared(self, x, labels):
        return self.torch.from_numpy(x).to(memory_format=self.layout), self.torch.from_numpy(labels).long()

    def trained(self, path, compiled, layout, lr):
        torch = self.torch
        net = self.onnx.load(path).train().to(memory_format=layout)
        optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, fused=True)
        forward, loss_of = torch.compile(net) if compiled else net, torch.nn.CrossEntropyLoss()

        def step(x, labels):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(forward(x), labels)
            loss.backward()
            optimizer.step()
            return loss
        return step


ENGINES = {"fovea": Fovea, "onnxruntime": OnnxRuntime, "ncnn": Ncnn, "openvino": OpenVino, "mnn": Mnn, "torch": Torch}
