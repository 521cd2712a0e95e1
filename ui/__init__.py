"""The page; it speaks HTTP to the API and imports only rag.schemas."""
