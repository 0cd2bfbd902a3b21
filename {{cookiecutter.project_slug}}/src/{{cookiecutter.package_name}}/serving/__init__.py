"""From a request to a logged prediction; imports neither `data` nor `training`."""
