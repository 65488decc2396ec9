"""Code that is not our own: objects by import path, packages of extras, and the time that such code may take."""
