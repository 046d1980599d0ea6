<?php
$body = file_get_contents('php://input');
usleep(1000 * (int)($_SERVER['SLEEP_MS'] ?? 0));
header('Content-Type: text/plain');
echo 'php ', $body;
