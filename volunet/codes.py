"""The table of finding codes: what each means, how severe it usually is, and what to do.

Codes are stable: scripts rely on them. Families: IO bytes, NII header, GEO geometry, IMG voxels,
LBL labels, SET datasets, MDL models, OOD what models did not see, RES memory, ROI regions of
interest, RUN the run itself.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Code(NamedTuple):
    """What a code means, how severe it is unless said otherwise, and what to do about it."""

    severity: Literal["info", "warn", "refuse", "fault"]
    meaning: str
    advice: str


CODES: dict[str, Code] = {
    "IO-MISSING": Code("refuse", "The file is not there.", "Check the path."),
    "IO-EMPTY": Code("refuse", "The file holds no bytes.", "Fetch the file again from its source."),
    "IO-TRUNC": Code(
        "refuse", "The file ends too early.", "Fetch the file again; part is missing."
    ),
    "IO-CRC": Code(
        "refuse",
        "The checksum of the compressed data is wrong.",
        "Fetch the file again; it is damaged.",
    ),
    "IO-TRAILING": Code(
        "warn",
        "Bytes follow the end of the data.",
        "They are left out; write the file again to be rid of them.",
    ),
    "IO-NAME": Code("warn", "The name does not say what the file is.", "Rename the file."),
    "IO-FORMAT": Code(
        "refuse",
        "This is not a scan that volunet reads.",
        "Give NIfTI, NRRD or MHA; or plain images as PNG, TIFF, JPEG or BMP.",
    ),
    "IO-BOMB": Code(
        "refuse", "The header claims more voxels than the file can hold.", "Do not trust this file."
    ),
    "IO-FAULT": Code(
        "fault", "The file could not be read.", "See the message; report it if it recurs."
    ),
    "NII-MAGIC": Code("refuse", "The NIfTI magic is wrong.", "Write the file again as NIfTI-1."),
    "NII-HEADER": Code("warn", "A header field is off, without harm.", "Nothing to do."),
    "NII-DIM": Code("refuse", "The dimensions make no sense.", "Write the file again."),
    "NII-OFFSET": Code(
        "refuse", "The start of the voxels lies outside the file.", "Write the file again."
    ),
    "NII-DTYPE": Code(
        "refuse", "The data type is not one volunet reads.", "Convert to int16 or float32."
    ),
    "IMG-COLOUR": Code("refuse", "The voxels are colours.", "Give the original grey-scale scan."),
    "IMG-COMPLEX": Code("refuse", "The voxels are complex.", "Give the magnitude image."),
    "IMG-2D": Code(
        "refuse",
        "The scan is a single plane.",
        "Give a volume, or accept IMG-2D to take it as one slice.",
    ),
    "IMG-AXES": Code(
        "refuse",
        "The scan has more than three axes.",
        "Split it into one file a volume or channel.",
    ),
    "IMG-SQUEEZED": Code("info", "An axis of length one was dropped.", "Nothing to do."),
    "IMG-NONFINITE": Code(
        "warn",
        "Some voxels are not numbers; they were set to the lowest finite value of their channel.",
        "Check the scan.",
    ),
    "IMG-SCALE": Code(
        "refuse",
        "Readers disagree on the scaling of the voxels.",
        "Write the file again without scaling.",
    ),
    "IMG-SCALE-IGNORED": Code(
        "warn", "The scale factors are not numbers and were ignored.", "Check the intensities."
    ),
    "IMG-RANGE": Code(
        "refuse", "The voxel values leave the range of float32.", "Rescale the intensities."
    ),
    "IMG-CONSTANT": Code("warn", "All voxels have the same value.", "Check the scan."),
    "IMG-CHANNELS": Code(
        "refuse", "The number of channels is not what is needed.", "Give them all."
    ),
    "IMG-ALPHA": Code(
        "info", "The image has an alpha channel, which was left out.", "Nothing to do."
    ),
    "IMG-TURNED": Code(
        "refuse",
        "The image is stored lying down and asks to be shown turned, which not all tools do.",
        "Save it upright; or accept IMG-TURNED where masks lie down too, to take it as stored.",
    ),
    "GEO-SPACING": Code(
        "refuse", "The voxel spacing is zero, negative or not a number.", "Set the true spacing."
    ),
    "GEO-SPACING-ODD": Code(
        "warn", "The voxel spacing is hard to believe.", "Check the spacing; volumes depend on it."
    ),
    "GEO-THIN": Code("warn", "An axis has very few voxels.", "Check that the scan is whole."),
    "GEO-AFFINE": Code("refuse", "The affine cannot be used.", "Set a valid sform or qform."),
    "GEO-SHEAR": Code(
        "refuse", "The axes are not at right angles.", "Resample the scan, or accept GEO-SHEAR."
    ),
    "GEO-SHEAR-SMALL": Code(
        "warn",
        "The axes are a little off right angles; the nearest rotation is used.",
        "Nothing to do.",
    ),
    "GEO-FORMS": Code(
        "refuse",
        "sform and qform place the scan differently.",
        "Make them equal, or accept GEO-FORMS.",
    ),
    "GEO-FORMS-SMALL": Code(
        "warn", "sform and qform differ by less than a voxel; the sform is used.", "Nothing to do."
    ),
    "GEO-PIXDIM": Code(
        "refuse",
        "pixdim and the sform give different spacings.",
        "Make them equal, or accept GEO-PIXDIM.",
    ),
    "GEO-NOFORM": Code(
        "warn",
        "The file does not say where it lies; left and right are a guess.",
        "Set the sform; in MHA TransformMatrix, in NRRD space and space directions.",
    ),
    "GEO-QUATERN": Code(
        "refuse", "The quaternion is not a rotation.", "Set a valid sform or qform."
    ),
    "GEO-UNITS": Code("warn", "The lengths were converted to mm.", "Nothing to do."),
    "GEO-UNITS-ODD": Code(
        "refuse", "The units give an impossible spacing.", "Correct xyzt_units or the spacing."
    ),
    "GEO-MISMATCH": Code(
        "refuse",
        "Two files of one case lie on different grids.",
        "Resample one onto the other's grid.",
    ),
    "LBL-ROUNDED": Code("info", "Label values were rounded to whole numbers.", "Nothing to do."),
    "LBL-FRACTION": Code(
        "refuse",
        "Label values are not whole numbers.",
        "Resample the labels with nearest neighbour.",
    ),
    "LBL-NEGATIVE": Code("refuse", "Label values are negative.", "Use whole numbers from 0 up."),
    "LBL-UNKNOWN": Code(
        "refuse",
        "A label value is not among those declared.",
        "Declare it in labels.json, or mend the mask.",
    ),
    "LBL-EMPTY": Code(
        "warn", "The label map is all background.", "Check that the case belongs here."
    ),
    "LBL-ALL-EMPTY": Code(
        "refuse",
        "Too many cases are all background.",
        "Check the labels; accept LBL-ALL-EMPTY if true.",
    ),
    "LBL-ABSENT": Code("warn", "A declared label occurs in no case.", "Remove it or add cases."),
    "LBL-UNDRAWN": Code(
        "warn",
        "The map holds a label that the case says was not drawn.",
        "Add it to the case's labelled, or clear it; it is taken for undecided.",
    ),
    "LBL-TINY": Code("warn", "A label has fewer than ten voxels.", "Check the mask."),
    "LBL-255": Code(
        "refuse", "The mask is stored as 0 and 255.", "Declare the value 255 in labels.json."
    ),
    "LBL-COLOUR": Code(
        "refuse",
        "The mask is drawn in colours that are not declared.",
        'Declare all of them in labels.json, as "colours" with "masks": "colours", or save whole '
        "numbers; edges must not be smoothed.",
    ),
    "LBL-LOSSY": Code(
        "refuse",
        "JPEG does not keep the values of a mask.",
        "Save the mask as PNG from where it was drawn.",
    ),
    "SET-LABELLED": Code(
        "warn",
        "labels.json says what was drawn in a case that is not here.",
        "Mend the name; without it everything counts as drawn.",
    ),
    "SET-EMPTY": Code("refuse", "No case was found.", "See the layouts that volunet reads."),
    "SET-DUPLICATE-ID": Code(
        "refuse", "Two files would have the same case id.", "Rename or remove one of them."
    ),
    "SET-DUPLICATE-IMAGE": Code(
        "warn", "Two cases have the same image.", "Remove one, or give both the same group."
    ),
    "SET-LEAK": Code(
        "refuse", "The same image or group is in training and validation.", "Put them on one side."
    ),
    "SET-SAME-ID": Code(
        "warn",
        "Held-out cases are called like cases that the model to start from has learnt from.",
        "If they are of the same patients, as in another modality, hold out others, or do not "
        "believe the scores. Ids of unrelated sets may be alike by chance.",
    ),
    "SET-UNPAIRED": Code(
        "refuse", "An image has no label, or a label no image.", "Add or remove it."
    ),
    "SET-NAME": Code(
        "warn", "A file's name does not fit the layout and was left out.", "Rename it."
    ),
    "SET-UNUSED": Code(
        "warn",
        "The list of folds does not name a case, or no fold holds it out.",
        "Add it to the list, or take the case out.",
    ),
    "SET-ABSENT-TRAIN": Code(
        "warn", "A label is in validation but never in training.", "Change the split."
    ),
    "MDL-CHANNELS": Code(
        "refuse",
        "The scan's channels are not the model's.",
        "Give the channels that the model names.",
    ),
    "MDL-UNJUDGED": Code(
        "info",
        "The model came without facts about the scans it was trained on; the scan was not judged.",
        "Make sure that it is of the kind the model was made for.",
    ),
    "OOD-SPACING": Code(
        "warn",
        "The spacing lies outside what the model was trained on.",
        "Look at the mask with care.",
    ),
    "OOD-SIZE": Code(
        "warn", "The field of view lies outside what the model was trained on.", "Look at the mask."
    ),
    "OOD-INTENSITY": Code(
        "warn",
        "The intensities lie outside what the model was trained on.",
        "Check modality and units.",
    ),
    "ROI-ABSENT": Code(
        "warn",
        "A structure that was asked for was not found in a first, quick look.",
        "Look at the scan; without a region of interest all of it is looked at twice.",
    ),
    "ROI-CUT": Code(
        "warn",
        "A structure that was asked for goes on to the edge of what was looked at.",
        "Look at the mask; give the region of interest as a mask, or leave it out.",
    ),
    "ROI-OUTSIDE": Code(
        "refuse",
        "The region of interest holds no voxel of the scan.",
        "Give a mask that lies in the scan, or none.",
    ),
    "RUN-FAILED": Code("fault", "The case failed.", "See the message; the other cases went on."),
    "RUN-FOREIGN": Code(
        "refuse",
        "The folder of results holds a mask of this case that volunet did not write.",
        "It is left as it is. Move or delete it to have the case segmented here.",
    ),
    "RUN-KILLED": Code(
        "refuse",
        "The process ended each time it was at work on the scan, as for want of memory.",
        "Limit the memory (--max-memory), or segment the scan alone on a larger machine.",
    ),
    "RES-MEMORY": Code(
        "refuse",
        "The case would need more memory than it may take.",
        "Allow more memory, or use a machine that has it.",
    ),
    "RUN-HURRIED": Code(
        "warn",
        "The deadline left no time to look at all of the scan twice.",
        "Allow more time where every detail matters.",
    ),
    "RUN-TIMEOUT": Code(
        "fault", "The deadline was too near to look at all of the scan once.", "Allow more time."
    ),
    "RUN-OOM": Code(
        "fault", "The case needed more memory than there was.", "Use a larger machine."
    ),
}
