"""Exit status 0 if the service of this container is ready; what it waits for is printed, for `docker inspect`."""

import os
import sys
import urllib.error
import urllib.request

try:
    with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['DPM_OPS_PORT']}/readyz", timeout=3) as answer:
        print(answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.read().decode())
    sys.exit(1)
except OSError as error:
    print(error)
    sys.exit(1)
