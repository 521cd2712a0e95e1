"""A page made with Gradio as it comes, with no switch set: what the harness must be able to see."""

from __future__ import annotations

import time

import gradio

gradio.Interface(lambda text: text, "text", "text").launch(prevent_thread_lock=True, server_name="127.0.0.1")
time.sleep(5)
