"""Images from folders, tables, archives and arrays, decoded one way for training and serving. No torch."""

from striate.data.arrays import as_nchw as as_nchw
from striate.data.augmentation import Augmentation as Augmentation
from striate.data.dataset import Dataset as Dataset
from striate.data.dataset import Part as Part
from striate.data.dataset import Skipped as Skipped
from striate.data.dataset import check as check
from striate.data.decode import decode as decode
from striate.data.decode import decode_all as decode_all
from striate.data.decode import decode_each as decode_each
from striate.data.decode import decoded_or_fault as decoded_or_fault
from striate.data.encoded import Encoded as Encoded
from striate.data.find import stream as stream
from striate.data.preprocess import Preprocessing as Preprocessing
from striate.data.preprocess import normalise as normalise
from striate.data.random import epoch_order as epoch_order
from striate.data.resize import fit_images as fit_images
from striate.data.sample import write_sample_images as write_sample_images
from striate.data.sources import from_arrays as from_arrays
from striate.data.sources import load as load
from striate.data.sources import load_part as load_part
from striate.data.unlabelled import batches as batches
from striate.data.unlabelled import find_units as find_units
