"""Tables, plots and pages from the files of saved runs and studies, without TensorFlow."""
