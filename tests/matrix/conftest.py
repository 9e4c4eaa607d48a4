import pytest


@pytest.fixture
def write_tables(request):
    return request.config.getoption("--write-tables")
