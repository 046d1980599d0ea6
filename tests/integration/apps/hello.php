<?php
header('Content-Type: text/plain');
echo 'php ', file_get_contents('php://input');
