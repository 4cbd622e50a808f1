"""`make load` and `make soak`: PAR under the load of k6 and oha, with thresholds that decide."""
