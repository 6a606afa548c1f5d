"""The one MetaData that all tables of the Backend belong to, and the column types they share."""

from sqlalchemy import DateTime, MetaData
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

Moment = DateTime(timezone=True)
Document = JSONB
