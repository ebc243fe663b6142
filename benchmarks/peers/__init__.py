"""What the runtime is compared with, each written as its own documentation shows, all on one model folder.

`bare` is a loop around diffusers without a server, `one_lock` the server most people write, `litserve_server` and
`ray_server` batch whole requests. The servers speak the same part of OpenAI's images API.
"""
