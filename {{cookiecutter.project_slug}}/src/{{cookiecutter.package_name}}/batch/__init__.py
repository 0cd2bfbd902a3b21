"""Tables through the predictor of the service: in process, or a file of any size."""
