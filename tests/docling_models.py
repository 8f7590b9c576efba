"""Models in the form in which docling loads its own, small enough to make: they see nothing.

``python -m tests.docling_models FOLDER`` fills a folder as ``docling-tools models download`` does.
On whatever page, the layout model finds the three things in ``FOUND``, and the table model two
rows of two cells. Only the models that read text off pictures are real ones: they come along
with the package rapidocr.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import rapidocr
import torch
from docling_ibm_models.tableformer.models.table04_rs.tablemodel04_rs import TableModel04_rs
from safetensors.torch import save_model
from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

FOUND = {
    "section_header": (0.5, 0.08, 0.9, 0.12),
    "table": (0.5, 0.4, 0.9, 0.4),
    "text": (0.5, 0.8, 0.9, 0.35),
}
"""Where on each page: the middle, the width and the height, in shares of the page's."""

SIDE = 32
"""Pixels of the picture that is looked at."""

WIDTH = 8
TABLE_WIDTH = 512
"""Numbers that the models remember of each thing; TableFormer's is fixed by its convolutions."""

TAGS = ("<pad>", "<unk>", "<start>", "<end>", "ecel", "fcel", "lcel", "ucel", "xcel", "nl")
TAGS += ("ched", "rhed", "srow")
TABLE = ("ched", "ched", "nl", "fcel", "fcel", "nl", "<end>")
CELL = (0.5, 0.5, 0.9, 0.9)

SURE = 6.0
"""The logit of what is the case; its negative is that of what is not."""


@torch.no_grad()
def make_layout_model(folder: Path) -> None:
    """Write a detector whose answers depend on nothing but the number of the answer."""
    names = dict(enumerate(FOUND))
    model = YolosForObjectDetection(
        YolosConfig(
            hidden_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=WIDTH,
            image_size=[SIDE, SIDE],
            num_detection_tokens=len(FOUND),
            use_mid_position_embeddings=False,
            id2label=names,
            label2id={name: number for number, name in names.items()},
        )
    )
    _forget(model, but="layernorm")
    tokens = torch.eye(len(FOUND), WIDTH) * SURE
    model.vit.embeddings.detection_tokens.copy_(tokens[None])
    seen = model.vit.layernorm(tokens)
    classes = torch.full((len(FOUND), len(FOUND) + 1), -SURE).fill_diagonal_(SURE)
    _answer(model.class_labels_classifier.layers, seen, classes)
    _answer(model.bbox_predictor.layers, seen, torch.tensor(list(FOUND.values())).logit())
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    YolosImageProcessor(size=size, do_pad=False).save_pretrained(folder)


@torch.no_grad()
def make_table_model(folder: Path) -> None:
    """Write a TableFormer that tells the same table of every picture."""
    words = {"word_map_tag": {tag: n for n, tag in enumerate(TAGS)}, "word_map_cell": {}}
    config = {
        "dataset": {
            "name": "none",
            "resized_image": 64,
            "image_normalization": {"state": True, "mean": [0.5] * 3, "std": [0.25] * 3},
        },
        "dataset_wordmap": words,
        "model": {
            "type": "TableModel04_rs",
            "name": "none",
            "save_dir": "",
            "enc_image_size": 4,
            "hidden_dim": TABLE_WIDTH,
            "tag_embed_dim": 16,
            "tag_decoder_dim": TABLE_WIDTH,
            "tag_attention_dim": 16,
            "bbox_attention_dim": TABLE_WIDTH,
            "bbox_embed_dim": 16,
            "bbox_classes": 2,
            "enc_layers": 1,
            "dec_layers": 1,
            "nheads": 2,
            "dropout": 0.0,
            "seq_len": 32,
        },
        "train": {"bbox": True},
        "preparation": {"max_tag_len": 32},
        "predict": {"max_steps": 32, "beam_size": 1, "bbox": True, "pdf_cell_iou_thres": 0.05},
    }
    model = TableModel04_rs(config, {"word_map": words}, "cpu").eval()
    _forget(model, but=".norm")
    tags, layer = model._tag_transformer, model._tag_transformer._decoder.layers[0]
    places = tags._positional_encoding(torch.zeros(len(TABLE), 1, TABLE_WIDTH))[:, 0]
    seen = layer.norm3(layer.norm2(layer.norm1(places)))
    wanted = torch.full((len(TABLE), len(TAGS)), -SURE)
    for place, tag in enumerate(TABLE):
        wanted[place, TAGS.index(tag)] = SURE
    tags._fc.weight.copy_(_solved(seen, wanted))
    model._bbox_decoder._bbox_embed.layers[2].bias.copy_(torch.tensor(CELL).logit())
    folder.mkdir(parents=True)
    save_model(model, folder / "tableformer_accurate.safetensors")
    (folder / "tm_config.json").write_text(json.dumps(config), encoding="utf-8")


def _forget(model: Any, *, but: str) -> None:
    for name, weights in model.named_parameters():
        weights.fill_(1.0 if but in name and name.endswith("weight") else 0.0)


def _answer(layers: Any, seen: torch.Tensor, wanted: torch.Tensor) -> None:
    """Have a perceptron of three layers, with ReLU between them, answer so."""
    for layer in layers[:2]:
        layer.weight.copy_(torch.eye(WIDTH))
    layers[2].weight.copy_(_solved(seen.relu(), wanted))


def _solved(seen: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return torch.linalg.lstsq(seen, wanted).solution.T


def main(folder: Path) -> None:
    make_layout_model(folder / "docling-project--docling-layout-heron")
    tables = folder / "docling-project--docling-models/model_artifacts/tableformer"
    make_table_model(tables / "accurate")
    shutil.copytree(Path(rapidocr.__file__).with_name("models"), folder / "RapidOcr")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
