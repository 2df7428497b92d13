"""Draw the page of a published scoring run again: reports/scoring/<source>-<run key>.html.

python pipelines/report.py                              the newest run
python pipelines/report.py run_key=ec12447d840f3218
python pipelines/report.py score.show=[site_007,site_012]

Every run that `python pipelines/score.py` publishes is drawn as reports/scoring/<source>.html.
"""

from gatecast.cli import entry
from gatecast.config import Config


@entry(groups=("source", "sink"))
def main(config: Config) -> None:
    from gatecast.reports import page

    print(page.of_run(config, config.run_key))


if __name__ == "__main__":
    main()
