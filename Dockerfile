# Prediction, search and reports; with `--build-arg EXTRAS=calibrate,transformers,nvidia` calibration too.
FROM python:3.11-slim
ARG EXTRAS=""
COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt "/src${EXTRAS:+[$EXTRAS]}" && rm -rf /src
WORKDIR /work
ENTRYPOINT ["latmodel"]
