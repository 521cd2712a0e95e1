"""One library each, behind the seams of rag.seams."""
