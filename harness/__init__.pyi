# The public names, each from the module that defines it: what `import harness` loads on demand and type checkers read.
from .assets.datasets.defining import dataset as dataset
from .degradations.defining import degradation as degradation
from .degradations.degrading import degrade as degrade
from .degradations.resize import imresize as imresize
from .methods import method as method
from .methods.checkpoint import load_weights as load_weights
from .methods.pyiqa import pyiqa_metric as pyiqa_metric
from .metrics.luminance import luma as luma
from .metrics.signal_noise import psnr as psnr
from .metrics.structural import ssim as ssim
from .protocols.definitions import protocol as protocol
from .protocols.measuring import measure as measure
from .protocols.own import metric as metric
from .records.defining import task as task
from .run.reproduction import repro as repro
from .run.single import restore as restore
from .tables.frames import rows as rows
from .tables.published import published as published

__version__: str
