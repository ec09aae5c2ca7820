"""What journals tell: figures, a page with pictures, comparisons and exports."""
