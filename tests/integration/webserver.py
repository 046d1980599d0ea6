"""The samples in conf/, each run by the real server it is for."""

import os
import re
import signal
import subprocess
import urllib.error
import urllib.request

from daemon import TOP, free_port, wait_for


def fetch(url, data=None, timeout=20):
    with urllib.request.urlopen(url, data=data, timeout=timeout) as answer:
        return answer.read()


class Server:
    """A web server with a sample configuration, its upstream and port replaced."""

    sample = command = None
    wanted = signal.SIGTERM

    def __init__(self, daemon, upstream, edit=None):
        """edit: what else becomes of the text of the sample."""
        self.port = free_port()
        self.url = "http://127.0.0.1:%d/" % self.port
        self.dir = os.path.join(daemon.dir, self.sample)
        os.mkdir(self.dir)
        self.path = os.path.join(self.dir, "conf")
        with open(os.path.join(TOP, "conf", self.sample), encoding="utf-8") as f:
            text = f.read()
        assert "127.0.0.1:9000" in text and "8080" in text
        text = text.replace('"port" => 9000', '"port" => ' + upstream.rpartition(":")[2])  # lighttpd
        text = re.sub(r"127\.0\.0\.1:8080|(?<![\d.])8080", lambda m: m.group(0).replace(
            "8080", str(self.port)), text.replace("127.0.0.1:9000", upstream))
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(edit(text) if edit else text)
        self.log = open(os.path.join(self.dir, "log"), "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [word.format(conf=self.path, dir=self.dir) for word in self.command],
            cwd=self.dir, env=daemon.environment({"HOME": self.dir, "XDG_DATA_HOME": self.dir}),
            stdout=self.log, stderr=self.log, start_new_session=True)
        try:
            wait_for(self._answers, 30, self.sample)
        except AssertionError:
            self.stop()
            raise

    def _answers(self):
        assert self.process.poll() is None, open(self.log.name, encoding="utf-8").read()
        try:
            fetch(self.url)
            return True
        except urllib.error.HTTPError as error:
            return error.code in (403, 500)  # an authorizer has said so
        except OSError:
            return False

    def stop(self):
        self.process.send_signal(self.wanted)
        self.process.wait(timeout=30)
        self.log.close()


class Nginx(Server):
    sample = "nginx.conf"
    command = ["nginx", "-p", "{dir}", "-e", "{dir}/error.log", "-c", "{conf}", "-g", "daemon off;"]


class Apache(Server):
    sample = "apache.conf"
    command = ["apache2", "-d", "{dir}", "-f", "{conf}", "-DFOREGROUND"]


class Lighttpd(Server):
    sample = "lighttpd.conf"
    command = ["lighttpd", "-D", "-f", "{conf}"]


class Caddy(Server):
    sample = "Caddyfile"
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", "{conf}"]


class Haproxy(Server):
    sample = "haproxy.cfg"
    command = ["haproxy", "-db", "-f", "{conf}"]
