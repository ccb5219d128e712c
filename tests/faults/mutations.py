"""Each guard of docs/reliability.md taken away, one after another: its test must fail. `make mutations` runs this.

The checkout is copied to a temporary folder, and nothing here is changed. With words, only the faults that hold one of
them; `make mutations FAULTS='lock buffer'` does the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
# Without some guards a test waits without end, as a command would: that is failing, too.
_HUNG_SECONDS = 300


class Guard(NamedTuple):
    """What keeps a fault from doing harm.

    Attributes
    ----------
    fault : str
        What happens, in a few words.
    file : str
        Where the guard stands, in the package.
    code, without : str
        The guard, which stands there once, and what is left of it when it is taken away.
    test : str
        Test that must fail then, as pytest names it, below ``tests``.
    """

    fault: str
    file: str
    code: str
    without: str
    test: str


RESTORE, APPLY, MEASURE, IMAGES = "run/restore.py", "run/apply.py", "run/measure.py", "images.py"
STATE, SUPERVISION, PLUGINS, LOADING = "process_state.py", "supervision.py", "methods/plugins.py", "records/loading.py"
DOWNLOAD, FOREIGN, CRATE, LAYOUTS = (
    "assets/download.py",
    "assets/foreign.py",
    "extras/crate.py",
    "assets/datasets/layouts.py",
)
DVC, PROJECT, WORKER, EXECUTION = "run/dvc_private.py", "run/project.py", "run/worker.py", "run/execution.py"
WRONG, STORAGE, FOREIGN_TESTS = "faults/test_wrong_rows.py", "faults/test_storage.py", "security/test_foreign_files.py"
BAD_PLUGINS, IMPORTS, RUNS = "faults/test_plugins.py", "faults/test_plugin_imports.py", "run/test_execution.py"
ELSEWHERE, LOCKS = "run/test_results_from_elsewhere.py", "run/test_run.py"
FETCHING, CRATES = "assets/datasets/test_fetching.py", "run/test_provenance.py"
RESTORING, APPLYING = "run/test_restore_and_measure.py", "run/test_apply.py"

GUARDS = (
    # What unfinished work is named by
    Guard(
        "a file of `depends` is replaced between two runs",
        RESTORE,
        "                sorted(depends.items()),\n",
        "",
        f"{WRONG}::test_a_file_that_a_method_depends_on_is_replaced",
    ),
    Guard(
        "a file of `depends` is replaced while the method runs",
        RESTORE,
        '    if changed:\n        raise HarnessError(f"{changed[0]}: was',
        '    if False:\n        raise HarnessError(f"{changed[0]}: was',
        f"{WRONG}::test_it_is_replaced_while_the_method_runs",
    ),
    Guard(
        "the user's own images are replaced",
        RESTORE,
        "                [(input_id.file, inputs.inputs[input_id.file]) for input_id in of_level],\n",
        "",
        f"{WRONG}::test_the_users_own_images_are_replaced",
    ),
    Guard(
        "images restored elsewhere are replaced",
        RESTORE,
        'None if method.on == "images" else _finished(',
        "_finished(",
        f"{WRONG}::test_images_restored_elsewhere_are_replaced",
    ),
    Guard(
        "another version of a package",
        RESTORE,
        "                sorted(library_versions(packages).items()),\n",
        "",
        f"{WRONG}::test_another_version_of_a_package_that_a_method_imports",
    ),
    Guard(
        "unfinished work of other code",
        RESTORE,
        "                code,\n                degrader",
        "                degrader",
        f"{RESTORING}::test_unfinished_work_of_other_code_is_not_taken_up",
    ),
    Guard(
        "a damaged unfinished image",
        RESTORE,
        "    except HarnessError:\n        file.unlink()\n        return None",
        "    except HarnessError:\n        return ''",
        f"{RESTORING}::test_a_damaged_unfinished_image_is_made_again",
    ),
    Guard(
        "a replaced restored image",
        MEASURE,
        "if pixels_sha256(pixels) != made_by.images[input_id.file]:",
        "if False:",
        f"{RESTORING}::test_a_replaced_restored_image_is_noticed",
    ),
    Guard(
        "inputs that differ from the recorded ones",
        RESTORE,
        "if digest != inputs.inputs[input_id.file]:",
        "if False:",
        f"{RESTORING}::test_changed_inputs_stop_the_run",
    ),
    Guard(
        "finished images before DVC has recorded the stage",
        RESTORE,
        '        for outdated in set(unfinished(partial, record.group).glob("*")) - set(folders.values()):',
        '        for outdated in unfinished(partial, record.group).glob("*"):',
        f"{RESTORING}::test_images_that_nothing_has_recorded_yet_are_not_lost",
    ),
    Guard(
        "weights that a method does not name",
        RESTORE,
        "    if unnamed := sorted(set(own) - named):",
        "    if unnamed := []:",
        "methods/test_own_weights.py::test_the_file_is_recorded_with_what_it_restored",
    ),
    Guard(
        "code that is edited during a run",
        "run/sources.py",
        "        if recorded is not None and recorded != hashes():",
        "        if False:",
        f"{WRONG}::test_code_that_is_edited_while_a_run_is_under_way",
    ),
    Guard(
        "a compiled file of another source",
        "methods/source_loading.py",
        '        raise OSError("compiled files are not used")',
        "        return super().path_stats(path)",
        f"{WRONG}::test_a_compiled_file_of_another_source_of_one_size_and_time",
    ),
    Guard(
        "a helper that is edited before it is imported",
        "methods/source_loading.py",
        "        if _looked_at.get(os.path.realpath(path), digest) != digest:",
        "        if False:",
        f"{WRONG}::test_a_helper_that_is_edited_before_a_method_imports_it",
    ),
    Guard(
        "a network or the report that is edited during a run",
        "cli/stages.py",
        '    refuse_edited(workspace, "cost", method=method)',
        "    pass",
        f"{WRONG}::test_a_network_or_the_report_that_is_edited_while_a_run_is_under_way",
    ),
    Guard(
        "images that a method does not name",
        RESTORE,
        "            if path.exists() and path.resolve() not in named:",
        "            if False:",
        f"{WRONG}::test_images_that_a_method_finds_and_does_not_name",
    ),
    Guard(
        "a link to a folder in a folder of `depends`",
        RESTORE,
        "            if file != path and file.is_symlink() and file.is_dir():",
        "            if False:",
        f"{WRONG}::test_a_link_to_a_folder_in_a_folder_of_depends",
    ),
    Guard(
        "a pipe among images",
        "files.py",
        "    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)",
        "    return False",
        "assets/datasets/test_releases.py::test_a_pipe_among_images",
    ),
    Guard(
        "a pipe where a file should be",
        "files.py",
        "    if is_special(path):",
        "    if False:",
        f"{FOREIGN_TESTS}::test_a_pipe_where_a_file_should_be",
    ),
    Guard(
        "a run that is stopped and goes on",
        SUPERVISION,
        "            if now - looked > _STOPPED_SECONDS:",
        "            if False:",
        f"{BAD_PLUGINS}::test_a_run_that_is_stopped_and_goes_on",
    ),
    Guard(
        "a plan that is changed while it is trained",
        "cli/training.py",
        "            if read_training_plans(workspace.root).get(run) != plan:",
        "            if False:",
        "training/test_training_state.py::test_a_plan_or_recipe_that_is_changed_while_it_is_trained",
    ),
    # What a method returns
    Guard(
        "samples that are no floating-point numbers",
        APPLY,
        "    if not np.issubdtype(result.dtype, np.floating):",
        "    if False:",
        f"{APPLYING}::test_what_a_method_must_not_return",
    ),
    Guard(
        "NaN",
        APPLY,
        "    if not np.isfinite(result).all():",
        "    if False:",
        f"{APPLYING}::test_what_a_method_must_not_return",
    ),
    Guard(
        "values in 0..255",
        APPLY,
        "    if low < least or high > most:",
        "    if False:",
        f"{APPLYING}::test_what_a_method_must_not_return",
    ),
    Guard(
        "no array at all",
        APPLY,
        "        if not isinstance(result, np.ndarray):",
        "        if False:",
        f"{APPLYING}::test_what_a_method_must_not_return",
    ),
    Guard(
        "no tensor at all",
        APPLY,
        "    if not isinstance(output, torch.Tensor):",
        "    if False:",
        f"{APPLYING}::test_what_a_method_must_not_return",
    ),
    Guard("restored pixels in [0, 1]", APPLY, " or 0 < high <= 1:", ":", f"{WRONG}::test_what_is_no_image_is_refused"),
    Guard(
        "the same buffer under x8",
        APPLY,
        "        return result.astype(np.float64)\n\n    if policy",
        "        return result\n\n    if policy",
        f"{WRONG}::test_a_method_that_returns_the_same_buffer",
    ),
    Guard(
        "the same buffer of a network under x8",
        "inference/ensemble.py",
        ".clone()",
        "",
        f"{APPLYING}::test_a_buffer_that_is_used_again",
    ),
    Guard(
        "the same buffer in two threads",
        APPLY,
        "any(np.may_share_memory(result, other) for thread, other in held.copy().items() if thread != here)",
        "False",
        f"{WRONG}::test_a_buffer_in_two_threads_is_refused",
    ),
    Guard(
        "a plugin that writes into its input",
        APPLY,
        "function(array.copy())",
        "function(array)",
        f"{APPLYING}::test_a_plugin_may_write_into_its_input",
    ),
    Guard(
        "a result of another size",
        RESTORE,
        '        raise NotAvailableError(f"{problem}: it takes no gray image")\n    raise HarnessError(problem)',
        '        raise NotAvailableError(f"{problem}: it takes no gray image")',
        f"{RESTORING}::test_what_a_method_must_not_return",
    ),
    # What all methods share
    Guard(
        "switches that are left turned",
        STATE,
        "            if before is None or now == before:",
        "            if True:",
        f"{WRONG}::test_methods_that_change_it_when_built_or_called_are_named",
    ),
    Guard(
        "switches that an import turns",
        PLUGINS,
        "        if changed := before.put_back():",
        "        if changed := ():",
        f"{WRONG}::test_plugins_that_change_it_while_they_are_imported_are_left_out",
    ),
    Guard(
        "closed standard streams",
        STATE,
        "        if self._put_streams_back():",
        "        if False:",
        f"{WRONG}::test_methods_that_change_it_when_built_or_called_are_named",
    ),
    Guard(
        "flushed denormals",
        STATE,
        '    "whether numbers below 1e-38 are kept (denormals)": Switch(_denormals, _set_denormals),\n',
        "",
        f"{WRONG}::test_methods_that_change_it_when_built_or_called_are_named",
    ),
    Guard(
        "another current folder",
        STATE,
        '    "the current folder": Switch(_folder, os.chdir),\n',
        "",
        f"{WRONG}::test_methods_that_change_it_when_built_or_called_are_named",
    ),
    Guard(
        "other handlers of signals",
        STATE,
        '    "the handlers of signals": Switch(_handlers, _set_handlers),\n',
        "",
        f"{WRONG}::test_methods_that_change_it_when_built_or_called_are_named",
    ),
    Guard(
        "Pillow reads truncated files",
        STATE,
        '        found["PIL.ImageFile.LOAD_TRUNCATED_IMAGES"] = _attribute(pillow, "LOAD_TRUNCATED_IMAGES")',
        "        pass",
        f"{WRONG}::test_methods_that_change_it_when_built_or_called_are_named",
    ),
    Guard(
        "environment variables of a plugin",
        STATE,
        "        _apply({name: before.get(name) for name in changed})",
        "        pass",
        f"{WRONG}::test_environment_variables_hold_for_their_own_method",
    ),
    # Plugins that end, hang or crash
    Guard(
        "a plugin that hangs",
        SUPERVISION,
        "elif now - last > limit:",
        "elif now - last > limit + 60:",
        f"{BAD_PLUGINS}::test_a_hung_method_is_stopped_with_what_it_started",
    ),
    Guard(
        "a plugin that ends the process",
        SUPERVISION,
        "    if not done and code == 0:",
        "    if False:",
        f"{BAD_PLUGINS}::test_a_method_that_ends_is_told_and_nothing_is_recorded",
    ),
    Guard(
        "a plugin that crashes",
        SUPERVISION,
        "    if code < 0:\n        raise",
        "    if False:\n        raise",
        f"{BAD_PLUGINS}::test_a_method_that_ends_is_told_and_nothing_is_recorded",
    ),
    Guard(
        "a plugin that is killed",
        SUPERVISION,
        "    if code == -signal.SIGKILL:",
        "    if False:",
        f"{BAD_PLUGINS}::test_a_method_that_ends_is_told_and_nothing_is_recorded",
    ),
    Guard(
        "what a hung plugin started",
        SUPERVISION,
        "family = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]",
        "family = [psutil.Process(pid)]",
        f"{BAD_PLUGINS}::test_a_hung_method_is_stopped_with_what_it_started",
    ),
    Guard(
        "a plugin that forks",
        RESTORE,
        "        if os.getpid() != process:\n",
        "        if False:\n",
        f"{BAD_PLUGINS}::test_a_method_that_forks_goes_on_once",
    ),
    Guard(
        "kill -9 of the supervisor",
        SUPERVISION,
        "ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL), 0, 0, 0)",
        "pr_set_pdeathsig",
        f"{BAD_PLUGINS}::test_killing_the_supervisor_ends_the_work",
    ),
    Guard(
        "out of memory",
        APPLY,
        '    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":\n        return True',
        "    if isinstance(error, MemoryError):\n        return False",
        f"{BAD_PLUGINS}::test_memory_that_suffices_for_less_at_once",
    ),
    Guard(
        "a thread that goes on",
        SUPERVISION,
        "                if done and now - last > _GRACE_SECONDS:",
        "                if False:",
        f"{IMPORTS}::test_a_stage_that_is_done_and_does_not_end",
    ),
    Guard(
        "an import that hangs",
        PLUGINS,
        "                if now - last > self._patience:",
        "                if now - last > self._patience + 600:",
        f"{IMPORTS}::test_a_plugin_that_cannot_be_imported_is_left_out",
    ),
    Guard(
        "an import that hangs the second time",
        PLUGINS,
        "    watch.start()\n",
        "",
        f"{IMPORTS}::test_a_plugin_that_hangs_only_the_second_time",
    ),
    Guard(
        "an import that prints megabytes",
        PLUGINS,
        "data[: _SHOWN_BYTES - len(self._said)]",
        "data",
        f"{IMPORTS}::test_a_plugin_that_only_looks_bad_is_kept",
    ),
    Guard(
        "an import that starts a thread",
        PLUGINS,
        "    if hung and self._threads:".replace("    if", "        if"),
        "        if False:",
        f"{IMPORTS}::test_a_plugin_that_cannot_be_imported_is_left_out",
    ),
    # Results from elsewhere
    Guard(
        "16 bits a sample",
        IMAGES,
        '    if saving != "unrounded" or _is_8_bit(pixels):',
        "    if False:",
        f"{ELSEWHERE}::test_16_bits_are_measured_whole_or_refused",
    ),
    Guard(
        "results stored with losses",
        IMAGES,
        '    if kind in ("JPEG", "MPO") or "jpeg" in compression or "webp" in compression:',
        "    if False:",
        f"{ELSEWHERE}::test_results_stored_with_losses_are_refused",
    ),
    Guard(
        "results with a palette",
        IMAGES,
        '    if image.mode in ("1", "P") or kind == "GIF"',
        '    if kind == "GI"',
        f"{ELSEWHERE}::test_results_stored_with_losses_are_refused",
    ),
    Guard(
        "a turned image", IMAGES, "    if turned != 1:", "    if False:", f"{ELSEWHERE}::test_a_turned_image_is_refused"
    ),
    Guard(
        "several images in a file",
        IMAGES,
        '    if getattr(image, "is_animated", False) and image.format != "MPO":',
        "    if False:",
        f"{ELSEWHERE}::test_several_images_in_a_file_are_refused",
    ),
    Guard(
        "transparent pixels",
        IMAGES,
        '    if "transparency" in image.info:',
        "    if False:",
        f"{ELSEWHERE}::test_a_transparent_colour_is_refused",
    ),
    Guard(
        "gray results stored as RGB",
        MEASURE,
        "    if reference.ndim == 2 and restored.ndim == 3 and _is_gray(restored):",
        "    if False:",
        f"{ELSEWHERE}::test_gray_results_stored_as_rgb_have_the_number_of_their_gray",
    ),
    Guard(
        "gray images in a colour set",
        "assets/inputs.py",
        "    mixed = gray_among_colour(dimensions)",
        '    mixed = ""',
        f"{ELSEWHERE}::test_no_mean_over_gray_and_colour_images",
    ),
    Guard(
        "gray and colour images restored before",
        MEASURE,
        "        if mixed := gray_among_colour(dimensions):",
        '        if mixed := "":',
        f"{ELSEWHERE}::test_no_mean_over_what_was_restored_before_either",
    ),
    # Files
    Guard(
        "a row that is written half",
        "files.py",
        "        os.replace(part, path)\n",
        "        path.write_bytes(part.read_bytes()[:40])\n",
        f"{STORAGE}::test_killed_while_a_row_is_written",
    ),
    Guard(
        "a row that changes on the disk",
        "records/rows.py",
        "        if record.rows_sha256 and",
        "        if False and",
        f"{STORAGE}::test_a_row_that_changes_on_the_disk_is_refused",
    ),
    Guard(
        "a flipped bit in imported weights",
        "assets/weights/loading.py",
        'if (stored.metadata() or {}).get("arrays") == _arrays_sha256(cached):',
        "if cached:",
        f"{STORAGE}::test_a_weights_cache_with_a_flipped_bit",
    ),
    Guard(
        "weights replaced while they are read",
        "assets/weights/loading.py",
        "        if _sha256(part.path) != part.sha256:",
        "        if False:",
        f"{STORAGE}::test_weights_replaced_while_they_are_read",
    ),
    Guard(
        "a flipped digit in a kept value",
        LOADING,
        "        if found.sha256 == _plain_sha256(found.kept):",
        "        if True:",
        "run/test_own_metrics.py::test_a_table_with_own_metrics",
    ),
    Guard(
        "a damaged line of a training's log",
        "training/logs.py",
        'errors="replace"',
        'errors="strict"',
        "security/test_fuzz.py::test_damaged_files_are_read_or_refused",
    ),
    Guard(
        "infinity in JSON",
        "files.py",
        "        return plain if math.isfinite(plain) else str(plain)",
        "        return plain",
        "report/test_odd_results.py::test_an_infinite_psnr_is_valid_json_and_told",
    ),
    # DVC
    Guard(
        "a dvc.lock that was cut off",
        PROJECT,
        "            _put_aside(lock_file)\n            self._stages",
        "            self._stages",
        f"{RUNS}::test_a_lock_file_cut_off_by_a_kill_costs_no_computing",
    ),
    Guard(
        "a flipped bit in DVC's cache",
        PROJECT,
        "(damaged := _drop_damaged(done))",
        "(damaged := [])",
        f"{RUNS}::test_a_damaged_file_in_the_cache_is_made_again",
    ),
    Guard(
        "locks of zombies",
        "run/living.py",
        "process.status() != psutil.STATUS_ZOMBIE and ",
        "",
        f"{LOCKS}::test_locks_of_dead_processes_are_dropped",
    ),
    Guard(
        "locks of a process whose number another has",
        "run/living.py",
        " and process.create_time() <= written + 1",
        "",
        f"{LOCKS}::test_the_lock_of_a_process_whose_number_another_has_now_is_dropped",
    ),
    Guard(
        "a clock that jumps while locks are held",
        "run/living.py",
        "            return not ended\n",
        "            pass\n",
        f"{LOCKS}::test_the_system_says_who_lives_and_no_clock",
    ),
    Guard(
        "a table printed while its rows are replaced",
        DVC,
        'rwlock(repo.tmp_dir, repo.fs, "reading", list(map(str, folders)), [], False)',
        'rwlock(repo.tmp_dir, repo.fs, "reading", [], [], False)',
        f"{LOCKS}::test_rows_are_not_read_while_another_run_makes_them",
    ),
    Guard(
        "a half-written list of locks",
        DVC,
        "        except (FileNotFoundError, ValueError, Invalid):",
        "        except FileNotFoundError:",
        f"{LOCKS}::test_a_half_written_lock_file_is_dropped",
    ),
    Guard(
        "two runs at once",
        PROJECT,
        "            except LockError as error:\n                self._wait(name, error, say)\n",
        "",
        f"{RUNS}::test_two_runs_at_once_wait_for_each_other",
    ),
    # Servers
    Guard(
        "a compressed answer",
        DOWNLOAD,
        '            if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":',
        "            if False:",
        f"{FETCHING}::test_strange_answers",
    ),
    Guard(
        "an answer that cannot be understood",
        DOWNLOAD,
        "except (requests.RequestException, HTTPError, http.client.HTTPException, ValueError) as error:",
        "except ZeroDivisionError as error:",
        f"{FETCHING}::test_strange_answers",
    ),
    Guard(
        "a byte now and then",
        DOWNLOAD,
        "outcome.get(timeout=SLOW_SECONDS)",
        "outcome.get(timeout=60 + SLOW_SECONDS)",
        f"{FETCHING}::test_an_answer_that_trickles",
    ),
    Guard(
        "a password for another host",
        DOWNLOAD,
        "            auth = None\n        url = where",
        "            pass\n        url = where",
        f"{FETCHING}::test_a_mirrors_password_goes_to_its_host_alone",
    ),
    # Strangers' files
    Guard(
        "links in HDF5",
        FOREIGN,
        "            if not isinstance(group.get(name, getlink=True), h5py.HardLink):",
        "            if False:",
        f"{FOREIGN_TESTS}::test_hdf5_files_that_lead_elsewhere",
    ),
    Guard(
        "external storage in HDF5",
        FOREIGN,
        "                if node.external or node.is_virtual:",
        "                if False:",
        f"{FOREIGN_TESTS}::test_hdf5_files_that_lead_elsewhere",
    ),
    Guard(
        "gigabytes declared in HDF5",
        FOREIGN,
        "                if declared > most:",
        "                if False:",
        f"{FOREIGN_TESTS}::test_hdf5_files_that_lead_elsewhere",
    ),
    Guard(
        "references to objects of no group",
        FOREIGN,
        "        if h5py.h5o.get_info(node.id).addr not in self._known:",
        "        if False:",
        f"{FOREIGN_TESTS}::test_hdf5_files_that_lead_elsewhere",
    ),
    Guard(
        "samples of any length in HDF5",
        FOREIGN,
        "                if node.dtype.hasobject and not holds_references(node):",
        "                if False:",
        f"{FOREIGN_TESTS}::test_hdf5_files_that_lead_elsewhere",
    ),
    Guard(
        "a YAML word that is no date",
        LOADING,
        "    except (ValueError, LookupError, AttributeError, TypeError) as error:",
        "    except ZeroDivisionError as error:",
        f"{FOREIGN_TESTS}::test_yaml_that_is_no_record",
    ),
    Guard(
        "brackets without end",
        LOADING,
        "        if len(opened) > _DEEPEST or",
        "        if len(opened) > 10**9 or",
        f"{FOREIGN_TESTS}::test_yaml_that_is_no_record",
    ),
    Guard(
        "aliases that multiply",
        LOADING,
        "            count += sizes.get(event.anchor, 0)",
        "            pass",
        f"{FOREIGN_TESTS}::test_yaml_that_grows",
    ),
    Guard(
        "a pipe where a record should be",
        LOADING,
        "        if path.exists() and not path.is_file():",
        "        if path.is_dir():",
        f"{FOREIGN_TESTS}::test_records_that_are_no_files",
    ),
    Guard(
        "a record of gigabytes",
        LOADING,
        "    if len(data) > _MOST_BYTES:",
        "    if False:",
        f"{FOREIGN_TESTS}::test_records_that_are_too_large",
    ),
    Guard(
        "terminal codes in names",
        "errors.py",
        "_UNPRINTABLE.sub(lambda sign: ascii(sign[0])[1:-1], text)",
        "text",
        f"{FOREIGN_TESTS}::test_terminal_codes_in_names_are_shown",
    ),
    Guard(
        "formulas in CSV",
        "report/render.py",
        'text.startswith(("=", "+"'.replace("text", "value"),
        'value.startswith(("§", "§"',
        f"{FOREIGN_TESTS}::test_formulas_in_csv_are_text",
    ),
    Guard(
        "names that leave an archive's folder",
        CRATE,
        "                if not is_safe(name):\n",
        "                if False:\n",
        f"{FOREIGN_TESTS}::test_archives_that_leave_their_folder",
    ),
    Guard(
        "links in an archive",
        CRATE,
        "0o170000 == 0o120000:",
        "0o170000 == 0o777777:",
        f"{FOREIGN_TESTS}::test_archives_that_leave_their_folder",
    ),
    Guard(
        "an archive that is packed too tightly",
        CRATE,
        "min(MOST_BYTES, max(2**24, MOST_PACKED * source.stat().st_size))",
        "MOST_BYTES",
        f"{FOREIGN_TESTS}::test_archives_that_unpack_to_more_than_they_say",
    ),
    Guard(
        "a crate that names a table outside",
        CRATE,
        " and is_name(named) else",
        " else",
        f"{CRATES}::test_a_malformed_crate",
    ),
    Guard(
        "a crate without its results",
        CRATE,
        '        elif f"results/{table}.json" not in files:',
        "        elif False:",
        f"{CRATES}::test_a_malformed_crate",
    ),
    Guard(
        "a crate whose results are none",
        CRATE,
        "    except (ValueError, TypeError, AttributeError, RecursionError):",
        "    except ZeroDivisionError:",
        f"{CRATES}::test_a_malformed_crate",
    ),
    Guard(
        "a pipe in a crate",
        CRATE,
        "            elif not (path.is_file() or path.is_dir()):",
        "            elif False:",
        f"{CRATES}::test_a_malformed_crate",
    ),
    Guard(
        "an image in a crate that is none",
        CRATE,
        "            except HarnessError:\n                problem = True",
        "            except ZeroDivisionError:\n                problem = True",
        f"{CRATES}::test_a_malformed_crate",
    ),
    Guard(
        "names that differ by case only",
        LAYOUTS,
        "        if other != image:\n            return other, image",
        "        pass",
        "assets/datasets/test_releases.py::test_names_that_many_systems_cannot_hold",
    ),
    Guard(
        "IMG_1 and img_1",
        LAYOUTS,
        "    if len(folded.found) > len(exact.found) and not folded.doubled:",
        "    if False:",
        "assets/datasets/test_releases.py::test_usual_folders_and_names_in_any_case",
    ),
    Guard(
        "names of devices",
        "names.py",
        'all(part not in ("", ".", "..") and not _is_device(part)',
        'all(part not in ("", ".", "..")',
        "assets/datasets/test_releases.py::test_names_that_many_systems_cannot_hold",
    ),
    Guard(
        "a name that reaches a shell",
        "names.py",
        "    if not is_name(text):",
        "    if False:",
        "run/test_names_in_commands.py::test_a_name_that_is_none_is_refused_where_it_enters",
    ),
    Guard(
        "a word that a shell would understand",
        "run/pipeline.py",
        'return shlex.join(["harness", *words])',
        'return " ".join(["harness", *words])',
        "run/test_names_in_commands.py::test_a_stage_command_is_quoted",
    ),
    Guard(
        "methods that return NaN on flat images",
        "run/conformance.py",
        "        yield Check(what, not problem, problem)",
        "        pass",
        "methods/test_conformance.py::test_broken_promises_are_found",
    ),
)


def tried(copy: Path, test: str) -> tuple[int, str]:
    """Run a test in a copy of the checkout; the exit status of pytest, and its last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{test}"]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=_HUNG_SECONDS
        )
    except subprocess.TimeoutExpired:
        return 1, "it does not end"
    return done.returncode, (done.stdout.strip().splitlines() or [""])[-1]


def survives(copy: Path, guard: Guard) -> str:
    """Take a guard away in the copy, run its test, put it back; say what is wrong, empty where the test failed."""
    file = copy / "harness" / guard.file
    text = file.read_text(encoding="utf-8")
    if guard.code not in text:
        return "the guard is not there any more"
    file.write_text(text.replace(guard.code, guard.without), encoding="utf-8")
    try:
        status, said = tried(copy, guard.test)
    finally:
        file.write_text(text, encoding="utf-8")
    return "" if status == 1 else f"{guard.test} does not notice ({said})"


def main(words: list[str]) -> int:
    """Try the guards whose faults hold one of the words; 1 where a test fails as it is, or notices nothing."""
    guards = [guard for guard in GUARDS if not words or any(word in guard.fault for word in words)]
    passes: dict[str, str] = {}  # by test: why it cannot tell, empty where it passes as it is
    noticed = 0
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "work", "data", "__pycache__"))
        for number, guard in enumerate(guards, 1):
            if guard.test not in passes:
                status, said = tried(copy, guard.test)
                passes[guard.test] = f"{guard.test} does not pass as it is ({said})" if status else ""
            problem = passes[guard.test] or survives(copy, guard)
            noticed += not problem
            print(f"[{number}/{len(guards)}] {guard.fault}: {problem or 'noticed'}", flush=True)
    print(f"{noticed} of {len(guards)} noticed")
    return int(noticed < len(guards))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
