"""What names of files and folders say: modality, case, mask, placeholder; opens no image, imports in milliseconds."""
