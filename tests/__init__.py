"""Tests; see README.md for how they are run."""

import pytest

pytest.register_assert_rewrite("tests.support.system")
