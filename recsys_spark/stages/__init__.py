"""Pure functions of DataFrames, one public function a file; nothing is read, written or kept."""
