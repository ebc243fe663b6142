"""The operator of SDXL services: what a custom resource asks for is made, kept right and told in its status.

`watch` turns events of the API server into keys, and `workqueue` gives each key one turn at a time.
`reconcile` takes a turn: it reads the resource with `cluster`, has `plan` say which children it wants, and applies
those that differ. An apply returns the live object, so what was applied is also what was observed.
`status` judges what was observed and says it in conditions; it is pure, as are `plan`, `impact` and `scaling`.
A turn ends with "done" or "again in so many seconds"; a re-list every few minutes makes a missed event harmless.
`api` is the public contract, from which `crd` makes the CustomResourceDefinitions in `crds/`.
"""

__version__ = "0.1.0"
