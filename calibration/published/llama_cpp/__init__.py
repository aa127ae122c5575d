"""How `latmodel/device/llama_cpp.json` is made: one fit over published speeds, devices within generations."""
