"""Plain Keras models: one module and one builder function per model, reached through `_target_`."""
