"""Whoever opens a story's folder reads there what it is, and how to play it."""

from pathlib import Path

import pytest

from aegis.cli.demo.story import Story, find_stories

EXAMPLES = Path(__file__).parents[3] / "examples"
STORIES = dict(zip(sorted(file.parent for file in EXAMPLES.glob("*/story.yaml")), find_stories(EXAMPLES), strict=True))


@pytest.mark.parametrize(("folder", "story"), STORIES.items(), ids=[folder.name for folder in STORIES])
def test_a_storys_folder_says_what_it_is_and_how_to_play_it(folder: Path, story: Story) -> None:
    told = (folder / "README.md").read_text()

    assert told.startswith(f"# {story.title}\n")
    assert f"aegis demo --story {story.name}\n" in told
    assert ("`policies`" in told) == bool(story.policies)
    assert f"| [{story.name}]({folder.name}/README.md) | {story.title} |" in (EXAMPLES / "README.md").read_text()


def test_every_folder_is_a_story_and_every_listed_story_is_there() -> None:
    assert {each for each in EXAMPLES.iterdir() if each.is_dir()} == set(STORIES)
    listed = [line for line in (EXAMPLES / "README.md").read_text().splitlines() if line.startswith("| [")]
    assert len(listed) == len(STORIES)


def test_every_case_that_happens_to_something_says_which_cause_must_be_named() -> None:
    cases = [case for story in STORIES.values() for case in story.cases if case.target]

    assert [case.name or case.fault for case in cases if case.expect.cause is None] == []


def test_the_readme_says_how_long_the_demo_takes_and_whose_seconds_it_shows() -> None:
    told = " ".join((EXAMPLES.parent / "README.md").read_text().split())

    assert "about three minutes on two idle cores" in told
    assert "in real seconds; those in the table are the simulated cluster's" in told
