"""The tests mirror `tinynet/`; a test that checks the lecture carries its id: `test_A7_...`."""
