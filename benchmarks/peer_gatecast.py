"""gatecast as one of the peers: started by benchmarks.peers, measured by the peers' own ``peerlib``.

Speed plans train the peers' net (an LSTM over 168 steps of one point) at the size asked for; the accuracy plan trains
the shipped recipe ``lstm_experts`` with the shipped trainer. Series and measures come from ``peerlib``.
"""

import tempfile
from pathlib import Path

import peerlib as P

a = P.arguments(["lstm", "gru"])

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from benchmarks.recipes import model_recipe, read  # noqa: E402
from benchmarks.training import peers_net  # noqa: E402
from gatecast.core.forecast import QuantileForecast  # noqa: E402
from gatecast.data.build_panel import build_panel  # noqa: E402
from gatecast.data.config import Feed, Splits, Task  # noqa: E402
from gatecast.data.windows import latest  # noqa: E402
from gatecast.evaluation.predictor import NetPredictor  # noqa: E402
from gatecast.training import trainer  # noqa: E402
from gatecast.training.config import Fit  # noqa: E402

ids, train, test = P.load_m4(a.data)
base = P.peak_rss_mib()

with P.span() as convert:
    start = pd.Timestamp("2000-01-01")
    frames = [
        pd.DataFrame({"unique_id": i, "ds": pd.date_range(start, periods=len(y), freq="h"), "y": y})
        for i, y in zip(ids, train, strict=True)
    ]
    feed = Feed(
        name="m4",
        frequency="h",
        calendar=False,
        task=Task(
            horizon=a.horizon,
            season_length=P.SEASON,
            splits=Splits(by="series_end", validation=a.horizon, test=1),
        ),
    )
    data = build_panel(
        pd.concat(frames, ignore_index=True), pd.DataFrame({"unique_id": ids}), feed, feasible=False
    )

if a.task == "accuracy":
    model, fit = model_recipe("lstm_experts"), read("trainer", "auto", Fit)
else:
    model = peers_net(a.layers, a.hidden, a.model)
    fit = Fit(
        accelerator="cpu",
        max_epochs=1,
        steps_per_epoch=a.warmup + a.steps,
        batch_size=a.batch,
        learning_rate=a.lr,
        threads=a.threads,
    )
with tempfile.TemporaryDirectory() as folder:
    trainer.CHECKPOINTS = Path(folder)
    with P.fit_scope(a) as meter:
        fitted = trainer.train("peer", data, model, fit, a.seed)
fit_rss = P.peak_rss_mib()
measured = meter.summary(a.warmup)
windows = fit.batch_size  # the meter takes the first axis for it, which is time here
for key in ("windows_per_s", "windows_per_cpu_s"):
    if key in measured:
        measured[key] *= windows / measured["windows_per_step"]
measured["windows_per_step"] = windows

with P.span() as predict:
    predictor = NetPredictor("peer", fitted.net, fitted.spec, fitted.scaling, data.meta)
    predicted = predictor.predict(data, latest(data))
assert isinstance(predicted, QuantileForecast)
order = {name: k for k, name in enumerate(data.ids)}
forecast = np.stack([predicted.median[order[i]] for i in ids])

P.report(
    a,
    peer="gatecast",
    convert_s=convert.wall,
    **measured,
    predict_s=predict.wall,
    predict_cpu_s=predict.cpu,
    import_rss_mib=base,
    fit_peak_rss_mib=fit_rss,
    accuracy=P.accuracy(train, test, forecast),
    versions=P.versions("gatecast"),
)
