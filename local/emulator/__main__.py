"""Run the emulated account: `python -m local.emulator --log FILE`."""

import argparse
from pathlib import Path

from local.emulator.request_log import RequestLog
from local.emulator.server import serve


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m local.emulator", description=__doc__)
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port; 0, the default, takes a free one and prints it")
    parser.add_argument("--log", type=Path, required=True, help="file for requests to S3, denials and failures")
    parser.add_argument("--functions", type=Path, required=True, help="directory for functions' code and logs")
    parser.add_argument("--authorities", type=Path, help="file of the certificate authorities that functions trust")
    parser.add_argument("--enforce-iam", action="store_true", help="let policies count from the start")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input does")
    arguments = parser.parse_args()
    serve(
        bind=arguments.bind,
        port=arguments.port,
        log=RequestLog(arguments.log),
        functions_directory=arguments.functions,
        authority_file=arguments.authorities,
        enforce_iam=arguments.enforce_iam,
        end_with_stdin=arguments.end_with_stdin,
    )


if __name__ == "__main__":
    main()
