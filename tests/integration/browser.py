"""A headless Chromium of the distribution, driven by its own driver."""

import json
import os
import shutil
import signal
import subprocess
import tempfile

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common import utils

from daemon import read, wait_for


class Driver(Service):
    """By its number: the name localhost is not known on every machine."""

    @property
    def service_url(self):
        return "http://127.0.0.1:%d" % self.port

    def is_connectable(self):
        return utils.is_connectable(self.port, "127.0.0.1")


class Browser:
    """One browser for many pages."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="preforkd-browser-")
        words = ["/usr/bin/chromium", "--headless=new", "--disable-gpu", "--disable-dev-shm-usage",
                 "--no-first-run", "--no-proxy-server", "--window-size=1280,1000",
                 "--remote-debugging-port=0", "--user-data-dir=" + self.profile]
        if os.geteuid() == 0:
            words.append("--no-sandbox")  # which Chromium does not have as root
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        port = os.path.join(self.profile, "DevToolsActivePort")
        wait_for(lambda: read(port).count("\n") == 1, 60, "the browser")
        options = Options()
        options.add_experimental_option("debuggerAddress", "127.0.0.1:" + read(port).split()[0])
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Driver("/usr/bin/chromedriver"), options=options)
        self.driver.set_page_load_timeout(20)

    def open(self, url):
        self.driver.get("about:blank")
        self.console()
        self.driver.get(url)

    def close(self):
        self.driver.quit()
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def console(self):
        """What the page's console has got since the last look."""
        return [line["level"] + " " + line["message"] for line in self.driver.get_log("browser")]

    def run(self, script, *args):
        return self.driver.execute_script(script, *args)

    def text(self, selector):
        """What a user reads in all elements of the selector."""
        return self.run("return [...document.querySelectorAll(arguments[0])]"
                        ".filter((e) => e.checkVisibility())"
                        ".map((e) => e.innerText).join('\\n')", selector)

    def count(self, selector):
        return self.run("return document.querySelectorAll(arguments[0]).length", selector)

    def wait(self, selector, words, limit=15):
        try:
            wait_for(lambda: words in self.text(selector), limit)
        except AssertionError as e:
            raise AssertionError("no %r in %r, which is %r; console: %s" % (
                words, selector, self.text(selector), json.dumps(self.console()))) from e

    def screen(self, width, height, phone=False, dark=False):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def keys(self, selector, *keys):
        self.driver.find_element("css selector", selector).send_keys(*keys)
