"""What is computed of a study, once for its tables and plots."""

from dataclasses import dataclass

from reports.study.differences import Differences, compare_trials
from reports.study.importance import Importance, study_importance
from reports.study.records import Study


@dataclass(frozen=True)
class Analysis:
    """A study with what was computed of it."""

    study: Study
    differences: Differences
    importance: Importance | None


def analyse_study(study: Study) -> Analysis:
    """Compare the trials of a study and weigh its parameters."""
    return Analysis(study, compare_trials(study), study_importance(study))
