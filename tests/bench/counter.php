<?php
// The counter in PHP; all workers of a pool share it.
header('Content-Type: text/plain');
echo apcu_inc('number'), "\n";
