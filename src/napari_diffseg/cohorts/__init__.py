"""Many cases into one folder, by any number of workers, each of which may be killed at any moment. No torch.

The truth is in files beside the results, in `OUT/.cohort`: the list of cases, and a record of each attempt at a case,
which is also the claim on it. Workers on one machine or many, and the panel, run the same loop:

```python
from napari_diffseg.cohorts.cohort_folder import CohortFolder
from napari_diffseg.cohorts.cohort_run import CohortRun
from napari_diffseg.cohorts.find import find_cohort
from napari_diffseg.cohorts.work import CaseBegun, CaseEnded, CaseProgress, CaseSkipped, work_through

folder = CohortFolder(out)
names = folder.add(find_cohort([data], modalities=checkpoint.recipe.modalities).cases)
run = CohortRun(segmenter, checkpoint, request, out)
for event in work_through(run, names):  # closing the generator cancels: finished members are kept
    match event:
        case CaseSkipped() | CaseBegun() | CaseEnded(): ...  # what became of a case; one that fails stops no other
        case CaseProgress(): show(event.event)  # the events of its run
rows = folder.table()  # what became of each case: state, attempts, seconds, digests; also while others work
```

Called again with the same folder it goes on where it was: cases that are done are skipped, finished members are kept.
"""
