from .files import read, write
from .labelled import from_xarray, to_xarray
from .pictures import read_pictures
from .recording import Recording
from .responses import respond, respond_run

__all__ = ["Recording", "from_xarray", "read", "read_pictures", "respond", "respond_run", "to_xarray", "write"]
