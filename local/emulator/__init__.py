"""An AWS account on this machine: moto's services, with what moto leaves out of CloudFormation and IAM."""

from local.emulator.aws import ACCOUNT, REGION
from local.emulator.process import Emulator, EmulatorError
from local.emulator.read_back import ReadBack, read_back
from local.emulator.request_log import Denial, Failure, RequestLog, S3Request

__all__ = [
    "ACCOUNT",
    "REGION",
    "Denial",
    "Emulator",
    "EmulatorError",
    "Failure",
    "ReadBack",
    "RequestLog",
    "S3Request",
    "read_back",
]
