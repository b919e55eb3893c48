"""The catalog, in a real browser: complete, searchable, readable on a phone, and silent towards the network."""

import asyncio
import json
import re
import shutil
from dataclasses import replace

import pytest

from glorext.hub.manifest import read_manifest
from glorext.hub.notices import set_notice
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.hub.site import curve, nice_ticks, write_site
from glorext.models.metrics import read_epochs
from glorext.runtime import PackageError, RegistryError, UsageError

from .browser import CHROMIUM, Page
from .samples import DETAILS

in_browser = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


@pytest.fixture(scope="module")
def shop(run, tmp_path_factory):
    """A registry with three models, one of them in two versions and one without evidence, and its catalog."""
    folder = tmp_path_factory.mktemp("shop")
    silent = shutil.copytree(run, folder / "silent")
    (silent / "eval.json").unlink()
    (silent / "metrics.jsonl").unlink()
    for source, details in [
        (run, DETAILS),
        (run, replace(DETAILS, version="1.10.0", summary="Digits, trained longer")),
        (silent, replace(DETAILS, name="unmeasured", summary="Nobody knows <script>document.title='x'</script>")),
        (run, replace(DETAILS, name="a-rather-long-name-for-a-model-of-handwritten-digits-0123456789")),
    ]:
        shutil.rmtree(folder / "package", ignore_errors=True)
        pack(source, folder / "package", details)
        publish(folder / "package", folder / "registry")
    assert write_site(folder / "registry", folder / "site") == 4
    return folder


def test_a_package_called_index_and_a_prerelease_have_pages_of_their_own(run, tmp_path):
    for name, version in (("index", "1.0.0"), ("index", "2.0.0-rc.1")):
        pack(run, tmp_path / version, replace(DETAILS, name=name, version=version))
        publish(tmp_path / version, tmp_path / "registry")
    write_site(tmp_path / "registry", tmp_path / "site")
    pages = {path.name: path.read_text() for path in (tmp_path / "site").glob("*.html")}
    assert set(pages) == {"index.html", "index@1.0.0.html", "index@2.0.0-rc.1.html"}
    assert 'href="index@1.0.0.html"' in pages["index.html"] and "All models" in pages["index@1.0.0.html"]
    assert not any("newer version" in page for page in pages.values())


def test_one_page_a_version_and_the_newest_under_the_name(shop):
    assert {path.name for path in (shop / "site").glob("*.html")} == {
        "index.html",
        "tiny-digits.html",
        "tiny-digits@1.0.0.html",
        "unmeasured.html",
        "a-rather-long-name-for-a-model-of-handwritten-digits-0123456789.html",
    }
    assert "Digits, trained longer" in (shop / "site/tiny-digits.html").read_text()
    assert 'newer version: <a href="tiny-digits.html">1.10.0' in (shop / "site/tiny-digits@1.0.0.html").read_text()


def test_a_page_shows_card_evidence_curves_matrix_and_every_digest(shop):
    page = (shop / "site/tiny-digits.html").read_text()
    manifest = read_manifest(shop / "registry/packages/tiny-digits/1.10.0")
    for text in (
        "98.00 %",
        "each scored once",
        "Training loss",
        "Top-1 after each epoch",
        "Rows are the true classes",
        "class 3 answered as class 5: 1",
        "mindspore_hub.load(&#34;tiny-digits@1.10.0&#34;)",
        "card.md",
        manifest.weights_sha256,
        manifest.labels_sha256,
        manifest.digest(),
        *(entry.sha256 for entry in manifest.files.values()),
    ):
        assert text in page, text


def test_the_most_frequent_mistakes_stand_beside_the_matrix(shop):
    page = (shop / "site/tiny-digits.html").read_text()
    rows = re.findall(r'<td class="right">(\d+)</td><td>(class \d)</td><td>(class \d)</td>', page)
    assert rows == [("1", "class 3", "class 5"), ("1", "class 8", "class 1")]


def test_every_class_has_its_precision_recall_and_f1(shop):
    page = (shop / "site/tiny-digits.html").read_text()
    rows = re.findall(r"<td>(class \d)</td>" + 4 * r'<td class="right">([\d.]+(?: %)?)</td>', page)
    assert len(rows) == 10
    assert rows[3] == ("class 3", "10", "100.00 %", "90.00 %", "94.74 %")
    assert rows[5] == ("class 5", "10", "90.91 %", "100.00 %", "95.24 %")
    assert "<strong>97.99 %</strong> mean F1 of the classes" in page
    assert "<strong>8.00 %</strong> calibration error" in page


def test_a_model_without_evidence_claims_nothing(shop):
    page = (shop / "site/unmeasured.html").read_text()
    assert "was not measured" in page and "top-1</p>" not in page and "true classes" not in page


def test_texts_of_packages_are_escaped(shop):
    for path in (shop / "site").glob("*.html"):
        assert "<script>document" not in path.read_text()


def test_pages_name_no_other_site(shop):
    for path in (shop / "site").iterdir():
        text = re.sub(r"<pre>.*?</pre>", "", path.read_text(), flags=re.S)
        assert not re.search(r'(src|href)="(?!data:,|[\w@.-]+")|url\(|@import', text), path


def test_a_catalog_is_replaced_but_no_other_folder(shop, tmp_path):
    folder = tmp_path / "site"
    write_site(shop / "registry", folder)
    (folder / "old.html").write_text("")
    write_site(shop / "registry", folder)
    assert not (folder / "old.html").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/me.jpg").write_text("")
    with pytest.raises(UsageError):
        write_site(shop / "registry", tmp_path / "photos")
    assert (tmp_path / "photos/me.jpg").exists()


def test_a_damaged_registry_leaves_the_old_catalog(shop, tmp_path):
    folder = tmp_path / "site"
    write_site(shop / "registry", folder)
    broken = shutil.copytree(shop / "registry", tmp_path / "broken")
    (broken / "index.json").write_text("{")
    before = (folder / "index.html").read_bytes()
    with pytest.raises(RegistryError):
        write_site(broken, folder)
    assert (folder / "index.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "site"]


def test_a_catalog_of_a_served_registry_is_the_same(server, registry, tmp_path):
    write_site(registry, tmp_path / "one", server.url)
    write_site(server.url, tmp_path / "two")
    assert (tmp_path / "one/tiny-digits.html").read_bytes() == (tmp_path / "two/tiny-digits.html").read_bytes()
    assert server.count("tiny-digits.ckpt") == 0


def test_a_page_says_where_the_registry_is_and_links_its_files(registry, tmp_path):
    write_site(registry, tmp_path / "site", "https://models.example.com/all/")
    for name in ("index.html", "tiny-digits.html"):
        assert "export GLOREXT_REGISTRIES=https://models.example.com/all<" in (tmp_path / "site" / name).read_text()
    page = (tmp_path / "site/tiny-digits.html").read_text()
    base = "https://models.example.com/all/packages/tiny-digits/1.0.0/"
    files = ["manifest.json", *read_manifest(registry / "packages/tiny-digits/1.0.0").files]
    assert re.findall(rf'href="{re.escape(base)}([^"]+)"', page) == [files[0], *sorted(files[1:], key=str.lower)]
    assert page.index("License Apache-2.0") < page.index("Evidence") < page.index("Training loss")


def test_a_folder_of_this_machine_is_named_to_nobody(registry, tmp_path):
    write_site(registry, tmp_path / "site")
    pages = "".join(path.read_text() for path in (tmp_path / "site").glob("*.*"))
    assert str(registry) not in pages and "Put the address of this registry" in pages and '<a href="http' not in pages
    with pytest.raises(UsageError, match="--address"):
        write_site(registry, tmp_path / "other", "registry")


def test_what_was_taken_back_is_said_first(registry, tmp_path):
    set_notice(registry, "tiny-digits@1.0.0", "yanked", "labels in wrong order")
    set_notice(registry, "tiny-digits@1.0.0", "deprecated", "use another")
    write_site(registry, tmp_path / "site")
    for name in ("index.html", "tiny-digits.html"):
        page = (tmp_path / "site" / name).read_text()
        assert "Taken back" in page and "labels in wrong order" in page and "use another" in page


def test_an_empty_registry_has_a_page_too(tmp_path):
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry/index.json").write_text('{"schema": "glorext.registry/1", "packages": {}}')
    assert write_site(tmp_path / "registry", tmp_path / "site") == 0
    assert "The registry is empty" in (tmp_path / "site/index.html").read_text()


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "epoch", "epoch": "1", "loss": 1}',
        '{"event": "epoch", "epoch": 1, "loss": "<b>"}',
        '{"event": "epoch", "epoch": 1, "loss": NaN}',
        "not json",
    ],
)
def test_hostile_metrics_are_refused(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(line + "\n")
    with pytest.raises(PackageError, match="line 1"):
        read_epochs(tmp_path / "metrics.jsonl", PackageError)


@pytest.mark.parametrize(
    "low, high, ticks",
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.13, 2.0, [0, 0.5, 1, 1.5, 2]),
        (0.7, 0.975, [0.7, 0.8, 0.9, 1.0]),
        (3, 3, [3, 4, 5, 6]),
    ],
)
def test_ticks_are_round_and_enclose(low, high, ticks):
    found = nice_ticks(low, high)
    assert found[0] <= low and found[-1] >= high and 2 <= len(found) <= 7
    if low != high:
        assert found == pytest.approx(ticks)


def test_curve_marks_stand_where_the_values_are():
    chart = curve([1, 2, 3], [0.0, 0.5, 1.0], True)
    xs, ys = zip(*[(x, y) for x, y, _, _ in chart["points"]])
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.11)
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.11) and ys[0] == chart["bottom"]
    assert [text for *_, text in chart["points"]] == ["0 %", "50 %", "100 %"]


def visit(tmp_path, width, act):
    async def main():
        async with Page(tmp_path / "profile", width) as page:
            result = await act(page)
            assert page.errors == []
            assert all(url.startswith(("file:", "data:")) for url in page.requests), page.requests
            return result

    return asyncio.run(main())


class TestInBrowser:
    pytestmark = in_browser

    def test_search_narrows_the_index(self, shop, tmp_path):
        shown = (
            "[...document.querySelectorAll('.model')].filter(m => m.offsetHeight)"
            ".map(m => m.querySelector('h2').textContent)"
        )

        async def act(page):
            await page.open(shop / "site/index.html")
            found = [await page.run(shown)]
            for text in ("unmeas", "RESNEXT50 digits", "zebra", ""):
                await page.run("document.getElementById('search').value = ''")
                await page.type("#search", text)
                await page.run("document.getElementById('search').dispatchEvent(new Event('input'))")
                found.append(await page.run(shown))
            return found, await page.run("document.title")

        found, title = visit(tmp_path, 1100, act)
        assert len(found[0]) == 3 and title == "Models"
        assert found[1] == ["unmeasured"]
        assert len(found[2]) == 2 and "tiny-digits" in found[2]
        assert found[3] == [] and len(found[4]) == 3

    def test_links_lead_from_index_to_page_and_back(self, shop, tmp_path):
        async def act(page):
            await page.open(shop / "site/index.html")
            target = await page.run(
                "[...document.querySelectorAll('.model')].find(m => "
                "m.querySelector('h2').textContent === 'tiny-digits').getAttribute('href')"
            )
            await page.open(shop / "site" / target)
            return [
                await page.run("document.querySelector('h1').textContent.trim()"),
                await page.run("document.querySelectorAll('.confusion tbody tr').length"),
                await page.run("document.querySelectorAll('svg polyline').length"),
                await page.run("document.querySelector('nav a').getAttribute('href')"),
            ]

        assert visit(tmp_path, 1100, act) == ["tiny-digits 1.10.0", 10, 2, "index.html"]

    def test_the_load_line_can_be_copied(self, shop, tmp_path):
        async def act(page):
            await page.open(shop / "site/tiny-digits.html")
            await page.run("document.querySelector('[data-copy]').click()")
            await asyncio.sleep(0.3)
            return [
                await page.run("document.querySelector('[data-copy]').textContent"),
                await page.run("document.querySelector('[data-copy]').dataset.copy"),
            ]

        word, line = visit(tmp_path, 1100, act)
        assert word in ("Copied", "Selected")
        assert line == 'import mindspore_hub; net = mindspore_hub.load("tiny-digits@1.10.0")'

    @pytest.mark.parametrize("width", [360, 1100])
    def test_pages_fit_the_screen_and_can_be_read(self, shop, tmp_path, width):
        async def act(page):
            sizes = {}
            for path in sorted((shop / "site").glob("*.html")):
                await page.open(path)
                sizes[path.name] = json.loads(
                    await page.run("""JSON.stringify({
                    wide: document.documentElement.scrollWidth,
                    small: Math.min(...[...document.querySelectorAll('p,dd,dt,td,th,a,code,summary')].filter(e =>
                        e.offsetHeight && e.textContent.trim()).map(e => parseFloat(getComputedStyle(e).fontSize))),
                    ticks: Math.min(99, ...[...document.querySelectorAll('svg')].map(s =>
                        13 * s.getBoundingClientRect().width / s.viewBox.baseVal.width))})""")
                )
            return sizes

        for name, size in visit(tmp_path, width, act).items():
            assert size["wide"] <= width, name
            assert size["small"] >= 11.5 and size["ticks"] >= 9, (name, size)
