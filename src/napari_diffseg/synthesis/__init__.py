"""Phantoms: synthetic multi-contrast brain MRI with lesions whose mask distribution is known exactly."""
