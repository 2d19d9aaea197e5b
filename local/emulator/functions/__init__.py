"""Lambda for the emulated account: functions really run, where moto would need Docker.

A function's code is what was uploaded with it, unpacked once per version. Each invocation is a process of its own, of
this machine's Python, with nothing in its environment but what Lambda gives, and with the credentials of the function's
role: IAM counts for it always, also while policies do not count for others.

What is not as on AWS:

- The Python is the one that runs the emulator, whatever version of it a function declares. Functions of other runtimes,
  with layers or as images are not run.
- A distribution in the code that was compiled for another machine or another Python cannot be loaded here. The one of
  the same name that is installed here stands in for it, whole; everything else comes from the function's code.
- Of what is installed here a function finds only what Lambda's own runtime has: boto3 and what that needs.
- No process is used twice, so nothing outlives an invocation but what it wrote to /tmp, which is the machine's. Memory
  is not limited. What a function prints reaches its log group at the end of the invocation, whatever its role allows,
  and a file of its own beside the emulator's log.
- A function that was invoked without waiting is tried three times, as on AWS, but without pauses.
"""
