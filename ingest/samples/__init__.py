"""Sample regulations of a fictional public body, shipped so that Vauban can be tried and measured at once.

``sources/`` holds each document as the Markdown it was written in; ``python -m ingest.samples.render`` turns it
into the format that its front matter names. A corpus folder (``rh``, ``sante``, ``finances``,
``infrastructures``) holds only what ``vauban ingest sync`` shall see: the rendered files, ``corpus.toml``, and for
each file a sidecar named after the whole file name, ``rh-conges-2024.pdf`` and ``rh-conges-2024.pdf.meta.toml``.

The groups of a sidecar are required in addition to those of its corpus: a restricted document of ``rh`` needs
``agents`` for the corpus and ``encadrement`` for itself.
"""
