SELECT EXISTS (SELECT 1 FROM files WHERE blob = :blob) OR EXISTS (SELECT 1 FROM parts WHERE blob = :blob) AS known
