# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
TRAIN_VENV ?= .venv-train
DATA ?= ../shared/data
WORK ?= build/asr-en
ANCAT ?= build/ancat
PRICES ?= 0.02 0.06 0.2
PROCESSES ?= 2
BIN = $(VENV)/bin
TRAIN_BIN = $(TRAIN_VENV)/bin
VAD ?= build/vad
WHISPER ?= build/whisper
CODEC ?= build/codec
LMCODEC ?= build/lmcodec
VOICE ?= build/voice
EXPORT_ASR = $(TRAIN_BIN)/python -m models.transducer.export --checkpoint $(WORK)/checkpoint.pt \
	--pieces $(WORK)/features/pieces.model --language-model $(WORK)/language-model
SIBLING = --features $(WORK)/features --init streamer/bundles/asr-en --updates 800 --rate 4e-4
TRAIN_ANCAT = $(TRAIN_BIN)/python -m models.transducer.ancat_train $(SIBLING)
LOOK_AHEAD = none full $(PRICES:%=adaptive-%)
EXPORTED = --checkpoint $(ANCAT)/$$run/checkpoint.pt --pieces $(WORK)/features/pieces.model \
	--out $(ANCAT)/bundles/$$run
PROTOS = $(wildcard proto/streamer/v1/*.proto)

.PHONY: help demo serve test test-server test-models check format proto soak bench train-asr evaluate-asr train-ancat evaluate-ancat train-whisper evaluate-whisper bench-whisper train-vad evaluate-vad train-codec polish-codec train-lmcodec evaluate-lmcodec evaluate-codec bench-codec train-voice evaluate-voice wheel clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

# pip older than 25.1 has no --group, so each environment upgrades its own first.
$(VENV)/.runtime: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[cpu]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

# moshi, the peer of imported Mimi models, asks for an older torch than it needs.
$(TRAIN_VENV)/.train: pyproject.toml
	test -x $(TRAIN_BIN)/python || $(PYTHON) -m venv $(TRAIN_VENV)
	$(TRAIN_BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(TRAIN_BIN)/python -m pip install --quiet --editable '.[cpu]' --group train
	$(TRAIN_BIN)/python -m pip install --quiet --no-deps moshi==0.2.13
	@touch $@

$(TRAIN_VENV)/.codec-evaluation: $(TRAIN_VENV)/.train
	$(TRAIN_BIN)/python -m pip install --quiet --group codec-evaluation
	@touch $@

demo: $(VENV)/.runtime ## start a server, stream a clip over gRPC and WebSocket, transcribe it in batch
	$(BIN)/streamer demo

serve: $(VENV)/.runtime ## serve the default models on ports 50051 (gRPC) and 8080 (HTTP, WebSocket)
	$(BIN)/streamer serve

test: test-server test-models ## all tests: the server without torch, then the workshop with it

# A file's tests run in one process: what a module makes is made once. More threads would only wait for each other.
# A test that hangs fails, and where it hung is printed.
test-server test-models: export OMP_NUM_THREADS = 1
IN_PROCESSES = -p xdist.plugin --numprocesses $(PROCESSES) --dist loadfile \
	-o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true --max-worker-restart 2

test-server: $(VENV)/.dev
	$(BIN)/python -m pytest $(IN_PROCESSES) -m 'not soak and not train'

test-models: $(TRAIN_VENV)/.train
	$(TRAIN_BIN)/python -m pytest $(IN_PROCESSES) -m 'train and not soak' tests/models

check: $(VENV)/.dev ## format, lint, types, layers, generated code and schema up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python tests/generated.py

format: $(VENV)/.dev ## rewrite the sources in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: $(VENV)/.dev ## regenerate streamer/v1 from proto/
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. --pyi_out=. $(PROTOS)
	$(BIN)/python -m grpc_tools.protoc -I proto --include_imports \
		--descriptor_set_out=streamer/gateway/riva/descriptors.binpb proto/riva/proto/riva_asr.proto

soak: $(VENV)/.dev $(TRAIN_VENV)/.train ## the full counts: an hour of stream, aborts, cuts, kills, fuzzing, idle and deaf clients (long)
	$(BIN)/python -m pytest -m 'soak and not train' -s tests
	$(TRAIN_BIN)/python -m pytest -m 'train and soak' -s tests/models

bench: $(VENV)/.runtime ## 50 paced live streams against a server of its own
	$(BIN)/streamer bench --spawn --streams 50 --duration 60

# The confidence of words is fitted to what a bundle without calibration says, hence two exports.
train-asr: $(TRAIN_VENV)/.train ## prepare data from $(DATA), train asr-en and export its bundle (resumes)
	$(TRAIN_BIN)/python -m models.transducer.prepare --data $(DATA) --out $(WORK)/features
	$(TRAIN_BIN)/python -m models.transducer.language_model --data $(DATA) --out $(WORK)/language-model
	$(TRAIN_BIN)/python -m models.transducer.train --features $(WORK)/features --out $(WORK)
	$(EXPORT_ASR) --out $(WORK)/plain/asr-en
	$(TRAIN_BIN)/python -m models.transducer.calibrate --bundle $(WORK)/plain/asr-en --data $(DATA) \
		--out $(WORK)/calibration.json
	$(EXPORT_ASR) --calibration $(WORK)/calibration.json --out $(WORK)/bundles/asr-en

evaluate-asr: $(TRAIN_VENV)/.train ## word errors and processor time of the shipped asr-en, beside PocketSphinx
	$(TRAIN_BIN)/python -m models.transducer.evaluate --data $(DATA)

train-ancat: $(TRAIN_VENV)/.train ## train and export siblings of asr-en with no, full and learned look-ahead
	$(TRAIN_ANCAT) --mode none --out $(ANCAT)/none
	$(TRAIN_ANCAT) --mode full --out $(ANCAT)/full
	for price in $(PRICES); do \
		$(TRAIN_ANCAT) --weight $$price --out $(ANCAT)/adaptive-$$price || exit 1; \
	done
	$(TRAIN_BIN)/python -m models.transducer.train $(SIBLING) --out $(ANCAT)/chunked
	for run in $(LOOK_AHEAD); do $(TRAIN_BIN)/python -m models.transducer.ancat_export $(EXPORTED) || exit 1; done
	run=chunked; $(TRAIN_BIN)/python -m models.transducer.export $(EXPORTED) --name chunked

evaluate-ancat: $(TRAIN_VENV)/.train ## word errors against delay of the siblings of `make train-ancat`
	$(TRAIN_BIN)/python -m models.transducer.ancat_report $(patsubst %,$(ANCAT)/%,$(LOOK_AHEAD) chunked) \
		--bundles $(ANCAT)/bundles --data $(DATA) --plot $(ANCAT)/curve.png

train-whisper: $(TRAIN_VENV)/.train ## prepare data from $(DATA), train a small causal Whisper from nothing, export it (resumes)
	test -f $(WHISPER)/features/.done || $(TRAIN_BIN)/python -m models.careless_whisper.prepare --data $(DATA) \
		--out $(WHISPER)/features
	@touch $(WHISPER)/features/.done
	$(TRAIN_BIN)/python -m models.careless_whisper.train --features $(WHISPER)/features --out $(WHISPER)
	$(TRAIN_BIN)/python -m models.careless_whisper.publish --checkpoint $(WHISPER)/checkpoint.pt \
		--tokens $(WHISPER)/features/tokens.txt --out $(WHISPER)/bundles/whisper-nano-en

evaluate-whisper: $(TRAIN_VENV)/.train ## word errors and processor time of the bundle of `make train-whisper`
	$(TRAIN_BIN)/python -m models.careless_whisper.evaluate --bundle $(WHISPER)/bundles/whisper-nano-en --data $(DATA)

train-codec: $(TRAIN_VENV)/.train ## train the codec in $(PROCESSES) processes and export its bundle (resumes)
	$(TRAIN_BIN)/torchrun --nproc-per-node $(PROCESSES) -m models.codec.train --data $(DATA) --pool $(CODEC)/pool \
		--out $(CODEC) --budget-minutes 120
	$(TRAIN_BIN)/python -m models.codec.export --checkpoint $(CODEC)/checkpoint.pt --out $(CODEC)/bundles/codec-16k

# Leaves the codes alone, so that models of codes stay good.
polish-codec: $(TRAIN_VENV)/.train ## go on with the decoder of `make train-codec` against discriminators (resumes)
	$(TRAIN_BIN)/torchrun --nproc-per-node $(PROCESSES) -m models.codec.train --data $(DATA) --pool $(CODEC)/pool \
		--out $(CODEC)/adversarial --budget-minutes 40 --init $(CODEC)/checkpoint.pt --freeze --adversarial --rate 5e-4
	$(TRAIN_BIN)/python -m models.codec.export --checkpoint $(CODEC)/adversarial/checkpoint.pt \
		--out $(CODEC)/adversarial/bundles/codec-16k

train-lmcodec: $(TRAIN_VENV)/.train ## encode speech by the codec in $(CODEC), train the models of its codes (resumes)
	test -f $(LMCODEC)/codes.npz || $(TRAIN_BIN)/python -m models.lmcodec.data --codec $(CODEC)/checkpoint.pt \
		--pool $(CODEC)/pool --data $(DATA) --out $(LMCODEC)/codes.npz
	for part in tables network predictor; do \
		$(TRAIN_BIN)/python -m models.lmcodec.train $$part --codes $(LMCODEC)/codes.npz --out $(LMCODEC) || exit 1; \
	done

evaluate-lmcodec: $(TRAIN_VENV)/.train ## bits that the models of codes save, and the sound of guessed codes
	$(TRAIN_BIN)/python -m models.lmcodec.evaluate --models $(LMCODEC) --codes $(LMCODEC)/codes.npz \
		--codec $(CODEC)/checkpoint.pt --data $(DATA)

train-vad: $(TRAIN_VENV)/.train ## train the voice activity detector on mixes and export its bundle (resumes)
	$(TRAIN_BIN)/python -m models.vad.train --data $(DATA) --out $(VAD)
	$(TRAIN_BIN)/python -m models.vad.train --data $(DATA) --out $(VAD)/harder --pool $(VAD)/pool \
		--init $(VAD)/checkpoint.pt --budget-minutes 5 --rate 1e-3 --seed 100000
	$(TRAIN_BIN)/python -m models.vad.export --checkpoint $(VAD)/harder/checkpoint.pt --out $(VAD)/bundles/vad

evaluate-vad: $(TRAIN_VENV)/.train ## F1 of the shipped vad beside silero-vad, and what the gate saves
	$(TRAIN_BIN)/python -m models.vad.evaluate --data $(DATA) --pool $(VAD)/pool --plot $(VAD)/curve.png
	$(TRAIN_BIN)/python -m models.vad.gating --data $(DATA) --pool $(VAD)/pool

# Of Debian: libopus0, libspeex1, libcodec2-1.0.
evaluate-codec: $(TRAIN_VENV)/.codec-evaluation ## quality of the shipped codec beside Opus, Speex, Codec 2 and Lyra v2, with and without loss
	$(TRAIN_BIN)/python -m models.codec.evaluate --data $(DATA) --out $(CODEC)/evaluation --loss

# MINUTES is for a rehearsal: so long for each part, in place of what each is used to.
train-voice: BUDGET = $(if $(MINUTES),--budget-minutes $(MINUTES))
train-voice: $(TRAIN_VENV)/.train ## align the recordings of the speaker, train the voice from nothing, export its bundle (resumes)
	$(TRAIN_BIN)/python -m models.flow_tts.lexicon --out $(VOICE)
	$(TRAIN_BIN)/python -m models.flow_tts.spell_train --out $(VOICE)/spell $(BUDGET)
	test -f $(VOICE)/pool/mel.npz || $(TRAIN_BIN)/python -m models.flow_tts.pool --data $(DATA) --out $(VOICE)/pool
	test -f $(VOICE)/pool/alignments.json || $(TRAIN_BIN)/python -m models.flow_tts.alignments \
		--pool $(VOICE)/pool --lexicon $(VOICE)/lexicon.txt.gz
	$(TRAIN_BIN)/torchrun --nproc-per-node $(PROCESSES) -m models.flow_tts.acoustic_train --pool $(VOICE)/pool \
		--out $(VOICE)/acoustic $(BUDGET)
	$(TRAIN_BIN)/torchrun --nproc-per-node $(PROCESSES) -m models.flow_tts.vocoder_train --pool $(VOICE)/pool \
		--out $(VOICE)/vocoder $(BUDGET)
	$(TRAIN_BIN)/torchrun --nproc-per-node $(PROCESSES) -m models.flow_tts.vocoder_train --pool $(VOICE)/pool \
		--out $(VOICE)/polished --init $(VOICE)/vocoder/checkpoint.pt --acoustic $(VOICE)/acoustic/checkpoint.pt \
		--adversarial --batch 8 --rate 4e-4 --warmup 100 $(BUDGET)
	$(TRAIN_BIN)/python -m models.flow_tts.calibrate --pool $(VOICE)/pool --acoustic $(VOICE)/acoustic/checkpoint.pt \
		--vocoder $(VOICE)/polished/checkpoint.pt --out $(VOICE)/calibration.json
	$(TRAIN_BIN)/python -m models.flow_tts.export --acoustic $(VOICE)/acoustic/checkpoint.pt \
		--vocoder $(VOICE)/polished/checkpoint.pt --calibration $(VOICE)/calibration.json --spell $(VOICE)/spell/checkpoint.pt \
		--lexicon $(VOICE)/lexicon.txt.gz --out $(VOICE)/bundles/voice-en

# Of Debian: flite, espeak-ng.
evaluate-voice: $(TRAIN_VENV)/.codec-evaluation ## word errors and DNSMOS of the shipped voice beside its speaker, flite and espeak-ng
	$(TRAIN_BIN)/python -m models.flow_tts.evaluate --data $(DATA) --out $(VOICE)/evaluation
	$(TRAIN_BIN)/python -m models.flow_tts.evaluate_pieces --data $(DATA) --out $(VOICE)/evaluation

bench-whisper: $(TRAIN_VENV)/.train ## what a chunk costs a streamed Whisper, beside openai-whisper run on the growing buffer
	mkdir -p $(WHISPER)
	$(TRAIN_BIN)/python -m models.careless_whisper.cost --plot $(WHISPER)/step_cost.png

bench-codec: $(TRAIN_VENV)/.train ## what a step of the shipped codec takes, beside bare ONNX Runtime
	$(TRAIN_BIN)/python -m models.codec.cost

wheel: $(VENV)/.dev ## build the wheel and the source distribution into dist/
	$(BIN)/python -m build

clean: ## remove environments and caches
	rm -rf $(VENV) $(TRAIN_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
